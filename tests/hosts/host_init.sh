#!/bin/sh
# Process 1 of one host of the test bed; bed.py starts it under unshare and documents the picture.
#
# Environment:  NAME  DISK (this host's directory)  HOMEDIR (bound as the user's home; empty: mounted
# later)  TESTER (user name)  PYTHON  OVERLAY (yes|no)  COVERS and BINDS (lines, see below).
# stdin is the lifeline: when it ends, this process ends, and the kernel ends the whole host.
# stdout gets one line, our process id as the outside sees it, once sshd answers.
set -eu
exec 3<&0 </dev/null
cd /
read -r outer_pid _ </proc/self/stat # /proc is still the outer one, or our kernel is our own

# Our copies of other people's network namespaces and FUSE mounts would keep those alive.
awk '$5 ~ "^/run/" || / - (nsfs|fuse[.a-z]*) / {print $5}' /proc/self/mountinfo | sort -r |
  while read -r target; do umount -l "$target" 2>/dev/null || :; done

[ "$outer_pid" = 1 ] || {
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
}
echo "$NAME" >/proc/sys/kernel/hostname
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=0666,mode=0620,gid=5
mount --bind /dev/pts/ptmx /dev/ptmx
mount -t tmpfs shm /dev/shm -o mode=1777

# /etc and /var live on this host's "disk" and so survive a power cut. bed.py has put this host's own
# files there already. No overlay on an overlay (containers): then a copy of /etc, and a bare /var.
overlay() {
  [ "$OVERLAY" = yes ] && mkdir -p "$DISK/work-$1" &&
    mount -t overlay "bed-$1" "/$1" \
      -o "lowerdir=/$1,upperdir=$DISK/$1,workdir=$DISK/work-$1" 2>/dev/null
}
overlay etc || {
  cp -an /etc/. "$DISK/etc/"
  mount --bind "$DISK/etc" /etc
}
overlay var || {
  (cd "$DISK/var" && mkdir -p cache lib log spool tmp && chmod 1777 tmp && ln -sfn /run run)
  # What has to be seen below /var must be there before /var is covered: a checkout in /var/tmp.
  echo "$BINDS" | while read -r access paths; do
    src=${paths%%	*} dst=${paths#*	}
    case $dst in /var/*) mkdir -p "$DISK$dst" && mount --bind "$src" "$DISK$dst" ;; esac
  done
  mount --rbind "$DISK/var" /var
  BINDS=$(echo "$BINDS" | grep -v '	/var/' || :)
}

# COVERS ("MODE DIR"): directories that become empty ones of our own. BINDS ("ro|rw SRC<tab>DST"): what
# shall be seen at DST all the same. What lies below /tmp has to be bound before /tmp is covered, so
# the covers are built aside, with the binds in them, and then moved into place.
aside=/dev/shm/covers
mkdir "$aside"
echo "$COVERS" | while read -r mode dir; do
  mkdir -p "$aside$dir"
  mount -t tmpfs cover "$aside$dir" -o "mode=$mode"
done
[ -z "$BINDS" ] || echo "$BINDS" | while read -r access paths; do
  src=${paths%%	*} dst=${paths#*	} place=''
  for dir in $(echo "$COVERS" | cut -d' ' -f2); do
    case $dst/ in "$dir"/*) place=$aside ;; esac
  done
  [ -z "$place" ] || mkdir -p "$place$dst"
  mount --bind "$src" "$place$dst"
  [ "$access" = rw ] || mount -o remount,bind,ro "$place$dst"
done
install -d -o "$TESTER" -g "$TESTER" -m 700 "$aside/home/$TESTER"
[ -z "$HOMEDIR" ] || mount --bind "$HOMEDIR" "$aside/home/$TESTER"
echo "$COVERS" | while read -r _ dir; do mount -n --move "$aside$dir" "$dir"; done
rm -r "$aside"

mkdir -p /run/sshd
install -d -m 1777 /run/lock
install -d -g utmp -m 1777 /run/screen # where screen is not setgid it needs 1777
cat /proc/sys/kernel/random/uuid >/run/boot_id # reads anew at every boot
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id

/usr/sbin/sshd -E /var/log/sshd.log # goes into the background before it listens, then writes its pid
until [ -s /run/sshd.pid ]; do
  pidof sshd >/dev/null || { cat /var/log/sshd.log >&2; exit 1; }
  sleep 0.01
done
echo "$outer_pid"

# Orphans become our children. Ignoring SIGCHLD makes the kernel reap them: a worker that ended must
# not stay as a zombie, which kill(pid, 0) takes for alive. No exec of sleep could do that.
exec "$PYTHON" -I -S -c '
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while os.read(0, 1):
    pass
' <&3 3<&- >/dev/null
