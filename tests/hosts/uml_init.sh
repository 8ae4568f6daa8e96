#!/bin/sh
# Process 1 of a host with a kernel of its own (user-mode Linux); uml_host.py starts that kernel.
#
# The root is the machine's, read-only. $BED (from the kernel's command line) is a file of settings:
# ADDRESS, CONTROL and what host_init.sh wants, which does the rest as for any other host.
set -eu
mount -t proc proc /proc
mount -t sysfs sysfs /sys
. "$BED"
mount -t ext4 /dev/ubda "$DISK" # what differs from the machine's /etc, /var; the home of a server
for module in overlay nfsv3 nfsv4 nfsd; do modprobe -d "$DISK" "$module"; done
ip link set lo up
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip addr add "$CONTROL/24" dev eth1
ip link set eth1 up
mkdir -p /dev/pts /dev/shm # /dev is the kernel's own, and bare
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
chmod 666 /dev/null /dev/zero /dev/full /dev/tty /dev/random /dev/urandom /dev/ptmx
rm -f "$DISK/never"
mkfifo "$DISK/never" # a lifeline that never ends: the power cut is from outside
exec sh "$HOST_INIT" <>"$DISK/never"
