"""What a machine has, whatever its home is: Python, screen, logind, sshd, CPUs, inotify.

Each check reads what it needs from below ``root`` ("" but in tests), and tells what it cannot read.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Optional

import fjd
from fjd.doctor.check import FAIL, OK, WARN, Check
from fjd.launchers import screen
from fjd.launchers.remote import LOGINS

_PACKAGE = os.path.dirname(os.path.abspath(fjd.__file__))
_PATIENCE = 5.0  # s for loginctl
_STARTUPS = "10:30:100"  # sshd's default
_YES = ("1", "yes", "y", "true", "t", "on")
_LARGEST = 1 << 20  # bytes of a configuration file
_UNITS = ("usr/lib", "usr/local/lib", "run", "etc")  # systemd's places, the last one wins


def checks() -> list[Check]:
    """Return all checks of this file."""
    user = _user(os.geteuid())
    return [python(), fjd_itself(), screen_here(), logout(user), startups(), cpus(), inotify()]


def facts() -> dict[str, str]:
    """Return what should be the same everywhere."""
    return {
        "fjd": fjd.__version__,
        "sources": sources(_PACKAGE),
        "package": _PACKAGE,
        "python": platform.python_version(),
        "executable": sys.executable,
    }


def sources(package: str) -> str:
    """Return a short digest of what fjd consists of."""
    digest = hashlib.sha256()
    for path in sorted(glob.glob(f"{glob.escape(package)}/**/*.py", recursive=True)):
        digest.update(path[len(package) :].encode() + b"\0" + (_read(path) or "").encode() + b"\0")
    return digest.hexdigest()[:12]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        return None


# -- Python and fjd -------------------------------------------------------------------------------


def python() -> Check:
    """Tell which interpreter this is."""
    return Check("python", OK, f"{platform.python_version()}, {sys.executable}")


def fjd_itself() -> Check:
    """Tell which fjd this is."""
    return Check("fjd", OK, f"{fjd.__version__}, {_PACKAGE}")


def same_python(ours: dict[str, str], theirs: dict[str, str], where: str) -> Check:
    """Compare the interpreters of two hosts."""
    mine, other = ours["python"], theirs.get("python", "unknown")
    fact = f"{other}, {theirs.get('executable', 'unknown')}"
    if mine.split(".")[:2] == other.split(".")[:2]:
        return Check("python", OK, fact)
    remedy = f"write `python: PATH` of a Python {'.'.join(mine.split('.')[:2])} into {where}"
    return Check("python", WARN, f"{fact}; here it is {mine}", f"if programs mind, {remedy}")


def same_fjd(ours: dict[str, str], theirs: dict[str, str]) -> Check:
    """Compare the fjd of two hosts."""
    fact = f"{theirs.get('fjd', 'unknown')}, {theirs.get('package', 'unknown')}"
    remedy = f"install the same one in both places (here it is {ours['package']})"
    if theirs.get("fjd") != ours["fjd"]:
        return Check("fjd", FAIL, f"{fact}; here it is {ours['fjd']}", remedy)
    # RACE: somebody changes a checkout that both use; then it is theirs that is up to date.
    if theirs.get("sources") not in (ours["sources"], sources(ours["package"])):
        return Check("fjd", FAIL, f"{fact}; the version is ours, but its files differ", remedy)
    return Check("fjd", OK, fact)


def interpreter(path: str, where: str) -> Optional[Check]:
    """Tell if an interpreter that remote.conf names for this machine cannot be run."""
    if shutil.which(path):
        return None
    return Check("python", FAIL, f"cannot run {path}", f"correct `python` in {where}")


# -- what keeps workers alive ---------------------------------------------------------------------


def screen_here() -> Check:
    """Look for GNU screen."""
    why = screen.missing()
    if why:
        remedy = "install GNU screen if you want to look in on workers; they work without it"
        return Check("screen", WARN, why, remedy)
    return Check("screen", OK, "GNU screen is installed")


def _logind_files(root: str) -> Iterator[str]:
    """Yield logind's main configuration and its drop-ins; a later file has the last word."""
    mains = [f"{root}/{place}/systemd/logind.conf" for place in _UNITS]
    yield next((path for path in reversed(mains) if os.path.exists(path)), mains[-1])
    drop_ins: dict[str, str] = {}
    for place in _UNITS:
        for path in glob.glob(f"{glob.escape(root)}/{place}/systemd/logind.conf.d/*.conf"):
            drop_ins[os.path.basename(path)] = path  # of two with one name /etc's counts
    for name in sorted(drop_ins):
        yield drop_ins[name]


def logind(root: str = "") -> dict[str, str]:
    """Return logind's settings; what only stands in a comment is what it was built with."""
    found: dict[str, str] = {}
    for number, path in enumerate(_logind_files(root)):
        section = ""
        for line in (_read(path) or "").splitlines():
            text = line.strip()
            if text.startswith("[") and text.endswith("]"):
                section = text[1:-1]
            built_in = number == 0 and re.match(r"[#;](Kill\w+)\s*=(.*)", text)
            if built_in:
                found.setdefault(built_in[1], built_in[2].strip())
            key, equals, value = text.partition("=")
            if section == "Login" and equals and text[0] not in "#;":
                found[key.strip()] = value.strip()
    return found


def lingers(user: str, root: str = "") -> Optional[bool]:
    """Tell whether the user's services outlive the logout; None if that cannot be seen."""
    if os.path.exists(f"{root}/var/lib/systemd/linger/{user}"):
        return True
    argv = ["loginctl", "show-user", user, "-p", "Linger", "--value"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())


def logout(user: str, root: str = "") -> Check:
    """Tell whether the system ends everything of ours when we log out."""
    name = "logout"
    settings = logind(root)
    kills = settings.get("KillUserProcesses", "").lower()
    if not kills:
        if os.path.isdir(f"{root}/run/systemd/system"):
            return Check(name, OK, "unknown: no logind.conf says whether logging out ends workers")
        return Check(name, OK, "workers stay: there is no systemd that would end them")
    only = settings.get("KillOnlyUsers", "").split()
    spared = settings.get("KillExcludeUsers", "root").split()
    if kills not in _YES or user in spared or (only and user not in only):
        return Check(name, OK, f"workers stay (KillUserProcesses={kills})")
    fact, hire = f"KillUserProcesses={kills}", "systemd-run --user --scope fjd-recruiter hire"
    if lingers(user, root):
        return Check(name, WARN, f"{fact}, and you linger", f"there, hire by: {hire}")
    return Check(
        name,
        FAIL,
        f"{fact}: workers end when the login that hired them ends",
        f"type there: loginctl enable-linger; then hire by: {hire}",
    )


# -- sshd, CPUs, inotify --------------------------------------------------------------------------


def _sshd_setting(path: str, key: str, root: str, depth: int = 0) -> Optional[str]:
    """Return a setting of sshd: the first one counts; "" if there is none, None if unknown."""
    text = _read(path)
    if text is None:
        return None
    for line in text.splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() == "match":
            break  # what follows is for some logins only
        if word.lower() == "include" and depth < 8:
            for pattern in rest.split():
                absolute = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
                for inner in sorted(glob.glob(glob.escape(root) + absolute)):
                    found = _sshd_setting(inner, key, root, depth + 1)
                    if found != "":
                        return found
        elif word.lower() == key:
            return rest.split("#")[0].strip().strip('"')
    return ""


def startups(root: str = "") -> Check:
    """Tell how many logins sshd takes at a time; only a jump host gets many of ours."""
    name, path = "sshd", f"{root}/etc/ssh/sshd_config"
    if not os.path.exists(path):
        return Check(name, OK, "no sshd_config: no logins to this machine")
    found = _sshd_setting(path, "maxstartups", root)
    if found is None:
        return Check(name, OK, f"MaxStartups is unknown: {path} cannot be read")
    value = found or f"{_STARTUPS} (sshd's default)"
    first = value.split(":")[0]
    if first.isdecimal() and int(first) < LOGINS:
        return Check(
            name,
            WARN,
            f"MaxStartups {value}; fjd opens {LOGINS} logins at a time",
            f"if it is a jump host, let its administrator write `MaxStartups {_STARTUPS}`",
        )
    return Check(name, OK, f"MaxStartups {value}")


def cpus() -> Check:
    """Tell how many CPUs there are for us."""
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    return Check("cpus", OK, f"{usable}" if usable == there else f"{usable} of {there} for you")


def inotify(root: str = "") -> Check:
    """Try whether a process may still watch a directory."""
    limit = (_read(f"{root}/proc/sys/fs/inotify/max_user_instances") or "unknown").strip()
    try:
        fd = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    except AttributeError:
        fd = -1
    if fd >= 0:
        os.close(fd)
        return Check("inotify", OK, f"available (max_user_instances {limit})")
    why = errno.errorcode.get(ctypes.get_errno(), "missing")
    remedy = "let the administrator raise fs.inotify.max_user_instances; fjd works without, slower"
    return Check("inotify", WARN, f"not available ({why}; max_user_instances {limit})", remedy)
