"""Put walls around the student's process. A script that `process` starts; standard library only.

    grader - this script - first process of the namespaces - the student's process

With namespaces (Linux) the student's process sees no network, no process but its own, and of the
files Python and its packages, which it cannot change, and an empty folder in memory. When the
first process of the namespaces ends, the kernel ends all others. Without them there are limits
only, and this script looks for what is left and ends it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

NOBODY = 65534
"""The group of a student's process where the grader is root; its user is `settings["user"]`."""

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS = 0x20000, 0x8000000, 0x10000000, 0x20000000
_NEW_NET = 0x40000000
_BIND, _REC, _PRIVATE, _NOSUID, _NODEV = 4096, 16384, 1 << 18, 2, 4
_DEATH_SIGNAL, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 36, 38
_MOUNT_SETATTR, _RECURSIVE, _PIVOT_ROOT = 442, 0x8000, {"x86_64": 155, "aarch64": 41}
_LIBC = ctypes.CDLL(None, use_errno=True)
_LINUX = sys.platform == "linux"


def main() -> None:
    """Build the walls that the settings ask for, run the student's process, leave nothing.

    The current folder is the grader's for this process; what is in `work` there, the student gets.
    """
    settings = json.loads(sys.argv[1])
    inside = settings["walls"] == "namespaces"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.umask(0o022)
    if _LINUX:
        _call("prctl", _DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    if inside:
        _new_namespaces()
    elif _LINUX:
        _call("prctl", _SUBREAPER, 1, 0, 0, 0)
    first = os.fork()
    if first == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if inside:  # as process 1 of the namespaces
            _call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            _new_root(settings)
            if student := os.fork():
                os._exit(_watch(student, settings, settings["memory"]))
        _student(settings)
    try:
        status = _watch(first, settings, 0 if inside else settings["memory"])
    finally:
        _end_all(first, inside)
    sys.exit(status)


def _student(settings: dict[str, Any]) -> None:
    """Give up rights, set limits, serve the grader."""
    try:
        os.setsid()
        inside = settings["walls"] == "namespaces"
        if os.getuid() == 0 and settings["walls"] != "limits":
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(settings["user"])
        if inside:
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            _call("capset", header, (ctypes.c_uint32 * 6)())
        if _LINUX:
            _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
            _call("prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        _limit("AS", settings["memory"])
        _limit("FSIZE", settings["disk"])
        _limit("NOFILE", settings["files"])
        _limit("NPROC", settings["processes"] + 2 * (os.cpu_count() or 1))
        _limit("CORE", 0)
        work = "/work" if inside else os.path.abspath("work")
        os.chdir(work)
        os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"), work))
        # What the start imports must not be what the notebook left in its folder.
        sys.path[:] = [place for place in sys.path if place not in ("", work)]
        from minran.workshop.course.child import serve

        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        serve(settings["line"])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _limit(name: str, most: int) -> None:
    which = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    try:
        resource.setrlimit(which, (most, most))
    except (ValueError, OSError):
        if name != "AS":  # macOS knows no such limit
            raise


# --- namespaces


def _new_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS | _NEW_IPC | _NEW_PIDS | _NEW_NET
    _call("unshare", flags | (_NEW_USER if uid else 0))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _new_root(settings: dict[str, Any]) -> None:
    """A file system of Python, its packages, a few devices, and an empty folder in memory."""
    root = os.path.abspath("root")
    os.mkdir(root)
    _call("mount", "none", "/", None, _REC | _PRIVATE, None)
    _call("mount", "tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=16m,mode=755")
    seen: list[Path] = []
    for place in sorted({Path(one) for one in settings["visible"]}, key=lambda p: len(p.parts)):
        if place.is_symlink() and place.parent == Path("/"):
            os.symlink(os.readlink(place), f"{root}{place}")  # /lib is /usr/lib
        elif place.exists() and not any(place.is_relative_to(other) for other in seen):
            seen.append(place)
            target = Path(f"{root}{place}")
            (target if place.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if not place.is_dir():
                target.touch()
            _call("mount", str(place), str(target), None, _BIND | _REC, None)
            if not place.is_relative_to("/dev"):
                _read_only(str(target), _RECURSIVE)
    for name in ("proc", "work", "dev/pts", "dev/shm"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    if not os.path.exists(f"{root}/tmp"):
        os.symlink("work", f"{root}/tmp")
    links = ("fd", "/proc/self/fd"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")
    for name, end in links:
        os.symlink(end, f"{root}/dev/{name}")
    for kind, where, data in (("proc", "proc", None), ("devpts", "dev/pts", "ptmxmode=0666")):
        with suppress(OSError):  # within a container it may be forbidden; Python does without
            _call("mount", kind, f"{root}/{where}", kind, _NOSUID, data)
    size = f"size={settings['disk']},nr_inodes=20000,mode=777"
    _call("mount", "tmpfs", f"{root}/work", "tmpfs", _NOSUID | _NODEV, size)
    for file in Path("work").iterdir():
        shutil.copyfile(file, f"{root}/work/{file.name}")
    os.mkdir(f"{root}/work/.shm")
    os.chmod(f"{root}/work/.shm", 0o777)
    _call("mount", f"{root}/work/.shm", f"{root}/dev/shm", None, _BIND, None)
    os.chdir(root)
    _call("syscall", _PIVOT_ROOT[os.uname().machine], ".", ".")
    _call("umount2", ".", 2)
    os.chdir("/")
    _read_only("/")


def _read_only(place: str, how: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(1 | 2)  # read only, no set-uid
    _call("syscall", _MOUNT_SETATTR, -100, place, how, attributes, 32)


def _call(name: str, *arguments: Any) -> None:
    """Call a function of the C library; OSError if it says no."""
    if getattr(_LIBC, name)(*(os.fsencode(x) if isinstance(x, str) else x for x in arguments)):
        raise OSError(number := ctypes.get_errno(), f"{name}{arguments}: {os.strerror(number)}")


# --- watching and ending


def _watch(student: int, settings: dict[str, Any], memory: int) -> int:
    """Wait for a process; its status, or `too_much` where all below here take more memory."""
    os.close(settings["line"])
    turn = 0
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if ended == student:
            return max(os.waitstatus_to_exitcode(status), 0)
        if ended == 0:
            time.sleep(0.02)
            turn += 1
            if memory and turn % 10 == 0 and _resident() > memory:
                return int(settings["too_much"])


def _resident() -> int:
    """Bytes of memory of the processes below this one."""
    pages = 0
    for pid in _below():
        with suppress(OSError, ValueError, IndexError):
            sizes = Path(f"/proc/{pid}/statm").read_text().split()
            pages += int(sizes[1]) - int(sizes[2])  # without what files share
    return pages * resource.getpagesize()


def _below() -> set[int]:
    """The processes that descend from this one, as /proc has it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            text = (folder / "stat").read_text(errors="replace")
            parents[int(folder.name)] = int(text.rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _end_all(first: int, inside: bool) -> None:
    """Kill what is below this process until nothing is left: it inherits orphans."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gone = suppress(ProcessLookupError, PermissionError)
    for _ in range(500):
        if not _LINUX:
            with gone:
                os.killpg(first, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        # Inside, /proc shows the namespaces only, and all in them end with the first.
        for pid in {first} if inside else _below():
            with gone:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
