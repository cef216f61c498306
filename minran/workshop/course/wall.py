"""Put walls around the student's process. A script that `start` starts; standard library only.

    grader - this script - first process of the namespaces - the student's process

With namespaces (Linux) the student's process sees no network, no process but its own, and of the
files Python and its packages, which it cannot change, and an empty folder in memory. When the
first process of the namespaces ends, the kernel ends all others. Without them (`plain`) there are
limits only, and this script looks for what is left and ends it.
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

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = (
    0x20000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_BIND, _REC, _PRIVATE, _NOSUID, _NODEV = 4096, 16384, 1 << 18, 2, 4
_SET_DEATH_SIGNAL, _SUBREAPER, _NO_NEW_PRIVILEGES = 1, 36, 38
_MOUNT_SETATTR, _RECURSIVE, _PIVOT_ROOT = 442, 0x8000, {"x86_64": 155, "aarch64": 41}


def main() -> None:
    """Build the walls that the settings ask for, run the student's process, leave nothing."""
    settings = json.loads(sys.argv[1])
    linux = sys.platform == "linux"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if linux:
        _prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
    inside = settings["namespaces"]
    if inside:
        _new_namespaces()
    elif linux:
        _prctl(_SUBREAPER, 1)
    first = os.fork()
    if first == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if inside:
            _first_process(settings)
        else:
            _student(settings)
    os.close(settings["line"])
    try:
        status = _watch(first, {} if inside else settings)
    finally:
        _end_all(first, inside)
    sys.exit(status)


def _first_process(settings: dict[str, Any]) -> None:
    """Process 1 of the namespaces: a root of its own, then the student's process."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    _new_root(settings)
    student = os.fork()
    if student == 0:
        _student(settings)
    os.close(settings["line"])
    os._exit(_watch(student, settings))


def _student(settings: dict[str, Any]) -> None:
    """Give up rights, set limits, serve the grader."""
    try:
        os.setsid()
        if os.getuid() == 0 and settings["nobody"]:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        if sys.platform == "linux":
            no_rights = (ctypes.c_uint32 * 6)()
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            if settings["namespaces"]:
                _expect(_LIBC.capset(header, no_rights), "capset")
            _prctl(_NO_NEW_PRIVILEGES, 1)
            _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
        _limit("AS", settings["memory"])
        _limit("FSIZE", settings["disk"])
        _limit("NOFILE", settings["files"])
        _limit("NPROC", settings["processes"] + 2 * (os.cpu_count() or 1))
        _limit("CORE", 0)
        work = "/work" if settings["namespaces"] else settings["work"]
        os.chdir(work)
        names = ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_CONFIG_DIR")
        os.environ.update(dict.fromkeys((*names, "JUPYTER_DATA_DIR", "XDG_CACHE_HOME"), work))
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
    which = getattr(resource, f"RLIMIT_{name}", None)
    if which is None:
        return
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    try:
        resource.setrlimit(which, (most, most))
    except (ValueError, OSError):
        if name != "AS":  # macOS knows no such limit
            raise


# --- namespaces


def _new_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    flags = _NEW_MOUNTS | _NEW_IPC | _NEW_PIDS | _NEW_NET
    _expect(_LIBC.unshare(flags | (_NEW_USER if uid else 0)), "unshare")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _new_root(settings: dict[str, Any]) -> None:
    """A file system of Python, its packages, a few devices, and an empty folder in memory."""
    root = settings["root"]
    _mount("none", "/", flags=_REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "size=16m,mode=755")
    seen: list[Path] = []
    for place in sorted({Path(one) for one in settings["visible"]}, key=lambda p: len(p.parts)):
        if place.is_symlink() and place.parent == Path("/"):
            os.symlink(os.readlink(place), f"{root}{place}")  # /lib is /usr/lib
        elif place.exists() and not any(place.is_relative_to(other) for other in seen):
            seen.append(place)
            _show(place, root, read_only=not str(place).startswith("/dev/"))
    for name in ("proc", "work", "dev/pts", "dev/shm"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    if not os.path.exists(f"{root}/tmp"):
        os.symlink("work", f"{root}/tmp")
    links = ("fd", "/proc/self/fd"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")
    for name, target in links:
        os.symlink(target, f"{root}/dev/{name}")
    for kind, where, data in (("proc", "proc", ""), ("devpts", "dev/pts", "ptmxmode=0666")):
        try:
            _mount(kind, f"{root}/{where}", kind, _NOSUID, data)
        except OSError:
            continue  # within a container it may be forbidden; Python does without
    size = f"size={settings['disk']},nr_inodes=20000,mode=700"
    _mount("tmpfs", f"{root}/work", "tmpfs", _NOSUID | _NODEV, size)
    for file in settings["fonts"]:
        shutil.copy(file, f"{root}/work")
    os.makedirs(f"{root}/work/.shm")
    _mount(f"{root}/work/.shm", f"{root}/dev/shm", flags=_BIND)
    if os.getuid() == 0:
        for folder, _, files in os.walk(f"{root}/work"):
            for one in (folder, *(os.path.join(folder, name) for name in files)):
                os.chown(one, NOBODY, NOBODY)
    os.chdir(root)
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError("pivot_root: unknown machine")
    _expect(_LIBC.syscall(number, b".", b"."), "pivot_root")
    _expect(_LIBC.umount2(b".", 2), "umount")
    os.chdir("/")
    _read_only("/", recursive=False)


def _show(place: Path, root: str, read_only: bool) -> None:
    target = f"{root}{place}"
    if place.is_dir():
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _mount(str(place), target, flags=_BIND | _REC)
    if read_only:
        _read_only(target)


def _read_only(place: str, recursive: bool = True) -> None:
    attributes = (ctypes.c_uint64 * 4)(1 | 2)  # read only, no set-uid
    how = _RECURSIVE if recursive else 0
    done = _LIBC.syscall(_MOUNT_SETATTR, -100, place.encode(), how, attributes, 32)
    _expect(done, f"mount_setattr {place}")


def _mount(what: str, where: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = (what.encode(), where.encode(), kind.encode() or None, flags, data.encode() or None)
    _expect(_LIBC.mount(*words), f"mount {where}")


# --- watching and ending


def _watch(student: int, settings: dict[str, Any]) -> int:
    """Wait for the student's process; end it where all processes together take too much."""
    memory, turn = settings.get("memory", 0), 0
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
    for pid in _below(os.getpid()):
        try:
            sizes = Path(f"/proc/{pid}/statm").read_text().split()
            pages += int(sizes[1]) - int(sizes[2])  # without what files share
        except (OSError, ValueError, IndexError):
            continue
    return pages * resource.getpagesize()


def _below(above: int) -> list[int]:
    """The processes that descend from one, as /proc has it."""
    parents = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text(errors="replace")
                parents[int(name)] = int(text.rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
    found = {above}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {above})


def _end_all(first: int, inside: bool) -> None:
    """Kill what is below this process until nothing is left: it inherits orphans."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    linux = sys.platform == "linux"
    for _ in range(500):
        if not linux:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(first, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if linux:  # inside, /proc shows the namespaces only, and all in them end with the first
            for pid in [first] if inside else _below(os.getpid()):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _prctl(what: int, value: int) -> None:
    _expect(_LIBC.prctl(what, value, 0, 0, 0), "prctl")


def _expect(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    main()
