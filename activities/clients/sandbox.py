"""The process between the worker and a script: confines it, watches it, and leaves nothing of it.

`activities.clients.shell` starts one launcher for each script, by a one-line program that imports
this module and calls `main`. The conversation:

* The worker writes the order (`Order`, marshalled, after its length) to the launcher's standard
  input and keeps the pipe open. When the pipe closes, by the worker's decision or by its death, the
  script and all that it started are killed. A parent-death signal would end this process instead,
  and orphan them.
* The launcher writes the script's process id and at the end a `Report`, both marshalled, to the
  descriptor that is named in its arguments. If the report is missing, the worker kills the script.

The script is a child with a process group of its own, which the filter does not let it leave, so
one signal reaches every process at once, new ones included. What leaves the group in the unconfined
mode falls to the launcher, which adopts orphans and kills them until it has no child. Then the work
directory is removed.
"""

# No `typing` at run time, here and in what is imported here: loading it would double the launcher's
# start, which every script pays for.
from __future__ import annotations

import marshal
import os
import select
import sys
import time

from activities.clients import confinement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from activities.clients.sandbox_order import Order, Report

_REPORT_FD = 201
_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib"),
    *("/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share", "/usr/local/bin"),
    *("/usr/local/lib", "/etc/ld.so.cache"),
)
_SOURCES = ("/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PROCESSES = 64
_GIVE_UP_KILLING = 10.0  # seconds; only a process that hangs in the kernel takes so long


def main() -> None:
    """Carry out the order on standard input; the arguments are the module path and a descriptor."""
    report_to = int(sys.argv[2])
    os.set_inheritable(report_to, False)
    order: Order | None = None
    try:
        order = marshal.loads(_read_exactly(int.from_bytes(_read_exactly(8), "big")))
        report = _run(order, report_to)
    except BaseException as error:  # every way of failing must be told: no report means no sandbox
        report = {"outcome": "refused", "detail": _describe("prepare", error)}
    try:
        os.write(report_to, marshal.dumps(dict(report)))
    finally:  # there is nobody to read it, if the worker is no more
        if order is not None:
            wipe(order["work"])
    # The interpreter has nothing to tidy up, and its tidying takes milliseconds.
    os._exit(0)


def _read_exactly(size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(0, size - len(parts))
        if not part:
            raise EOFError("the order ended early")
        parts += part
    return bytes(parts)


def _run(order: Order, report_to: int) -> Report:
    confinement.prctl(confinement.PR_SET_CHILD_SUBREAPER, 1)
    _furnish(order)
    failure, told = os.pipe()
    launcher = os.getpid()
    child = os.fork()
    if child == 0:
        _become_script(order, launcher, told)
    stopped = True
    try:
        os.write(report_to, marshal.dumps(child))
        os.close(told)
        # From here on the pipes to the worker belong to the script alone.
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        stopped = _wait(child, order["worker"])
    finally:
        status = _kill_all(child)
    if detail := os.read(failure, 4096):
        return {"outcome": "refused", "detail": detail.decode(errors="replace")}
    if stopped:
        return {"outcome": "stopped"}
    code = os.waitstatus_to_exitcode(status)
    return {"outcome": "exited", "exit_code": 128 - code if code < 0 else code}


def _furnish(order: Order) -> None:
    """Create the work directory and put the script in it, as its user's."""
    work, uid = order["work"], order["uid"]
    os.umask(0o077)
    os.mkdir(work, 0o700)
    for name, contents in order["files"].items():
        path = f"{work}/{name}"
        with open(path, "xb") as file:
            file.write(contents)
        if uid is not None:
            os.chown(path, uid, uid)
    if uid is not None:
        os.chown(work, uid, uid)


def _become_script(order: Order, launcher: int, told: int) -> NoReturn:
    """Confine this process and replace it by the script; say over `told` why that failed."""
    stage = "prepare"
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if order["prefix"]:
            prefix = os.open(order["prefix"], os.O_PATH | os.O_DIRECTORY)
            os.dup2(prefix, confinement.INTERPRETER_FD)
        told = os.dup2(told, _REPORT_FD, inheritable=False)
        os.closerange(3, confinement.INTERPRETER_FD if order["prefix"] else _REPORT_FD)
        os.closerange(_REPORT_FD + 1, 1 << 20)
        os.chdir(order["work"])
        confinement.die_first()
        stage = "Landlock"
        landlock = _landlock(order) if order["confined"] else None
        stage = "limits"
        _limit(order)
        if order["uid"] is not None:
            stage = "unprivileged user"
            confinement.change_user(order["uid"])
        # Changing the user clears this; and the launcher may have died before it was set.
        confinement.prctl(confinement.PR_SET_PDEATHSIG, confinement.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)
        if landlock is not None:
            stage = "capabilities"
            confinement.give_up_privileges()
            stage = "Landlock"
            landlock.restrict()
            stage = "seccomp"
            confinement.filter_system_calls(
                own_user=order["uid"] is not None, signals_scoped=landlock.signals_scoped
            )
        stage = "start"
        os.execve(order["argv"][0], order["argv"], order["env"])
    except BaseException as error:  # nothing of the launcher may go on in this process
        os.write(told, _describe(stage, error).encode())
        os._exit(1)


def _describe(stage: str, error: BaseException) -> str:
    """Say what failed without a path: the worker's are nobody's business."""
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ""
    return f"{stage}: {reason or type(error).__name__}"


def _landlock(order: Order) -> confinement.Landlock:
    rules = confinement.Landlock()
    for path in _SYSTEM:
        rules.allow(path, confinement.READ)
    if order["prefix"]:
        for part in ("bin", "lib", "lib64"):
            rules.allow(f"{order['prefix']}/{part}", confinement.READ)
    for path in _SOURCES:
        rules.allow(path, confinement.READ)
    rules.allow(os.devnull, confinement.READ_WRITE_DEVICE)
    rules.allow(order["work"], confinement.WORK)
    return rules


def _limit(order: Order) -> None:
    uid = order["uid"]
    # The kernel counts all processes of a user: a user of its own begins at none.
    present = 0 if uid is not None else confinement.threads_of(os.getuid())
    confinement.limit({**order["limits"], "NPROC": present + _PROCESSES, "CORE": 0})


def _wait(child: int, worker: int) -> bool:
    """Wait until the script ends (False), or the worker says stop or is no more (True).

    The worker is watched as well as its pipe, because a process that it forked may hold the pipe.
    """
    end, death = os.pidfd_open(child), os.pidfd_open(os.getppid())
    if os.getppid() != worker:
        return True
    watch = select.poll()
    for descriptor in (end, death, 0):
        watch.register(descriptor, select.POLLIN)
    return end not in {descriptor for descriptor, _event in watch.poll()}


def _kill_all(child: int) -> int:
    """Kill the script and all that it started; answer the wait status of the script itself.

    The group is signalled before its leader is reaped, while its number cannot be anybody else's.
    """
    status = 0
    group_exists = True
    deadline = time.monotonic() + _GIVE_UP_KILLING
    while time.monotonic() < deadline:
        if group_exists:
            _kill(-child)
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    status, group_exists = ended[1], False
        except ChildProcessError:
            break
        for orphan in _children():
            _kill(orphan)
        time.sleep(0.002)
    return status


def _kill(target: int) -> None:
    try:
        os.kill(target, confinement.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # it is gone, or a zombie


def _children() -> list[int]:
    """The processes whose parent is this one, adopted orphans included."""
    mine = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # A program's name may hold anything: fields count from its last bracket.
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            if parent == os.getpid():
                mine.append(int(name))
    return mine


def wipe(top: str) -> None:
    """Remove a directory that a script has filled.

    No path is followed and none grows: what lies in a directory is moved up beside it before the
    directory is removed, so neither depth nor permissions nor links get in the way. Nobody may be
    writing to it. What cannot be removed is left, for the operator to see.
    """
    try:
        directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.fchmod(directory, 0o700)
        while names := os.listdir(directory):
            for name in names:
                if not _unlink(name, directory):
                    _hollow_out(name, directory)
        os.rmdir(top)
    except OSError:
        return
    finally:
        os.close(directory)


def _hollow_out(name: str, directory: int) -> None:
    """Remove the directory `name`, after moving the directories in it up into `directory`."""
    os.chmod(name, 0o700, dir_fd=directory)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        for entry in os.listdir(inner):
            if not _unlink(entry, inner):
                # Without its owner's right to write, a directory cannot be moved.
                os.chmod(entry, 0o700, dir_fd=inner)
                os.rename(entry, os.urandom(16).hex(), src_dir_fd=inner, dst_dir_fd=directory)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=directory)


def _unlink(name: str, directory: int) -> bool:
    """Remove anything but a directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True
