"""What the kernel is asked for, so that a script stays inside: Landlock, seccomp, a user, limits.

Only the launcher (`activities.clients.sandbox`) calls the functions that confine; they work on the
calling process, cannot be undone, and are inherited by everything that it starts. `missing` may be
called anywhere. Nothing here imports more than the launcher can load within a few milliseconds.

Landlock's numbers are those of `linux/landlock.h`; its three system calls have the same numbers on
all architectures.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from struct import pack

from activities.clients import syscall_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIGKILL = 9  # `signal` costs more to import than everything else here
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
#: Where a script finds its interpreter's directory, when the path to it is not its to walk.
INTERPRETER_FD = 200

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_PR_SET_NO_NEW_PRIVS = 38
_EFAULT = 14

_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
_VERSION_QUERY = 1
_PATH_BENEATH = 1
_SCOPED_SINCE = 6
# Before ABI 3 a file could be emptied without the right to write it. A script with a user of its
# own is stopped by ordinary permissions; one with the worker's user is not.
_SAME_USER_SINCE = 3

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE, _MAKE_DIR_REG, _MAKE_FIFO_SYM = 0b11 << 4, 0b11 << 7, 1 << 10 | 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
READ = _EXECUTE | _READ_FILE | _READ_DIR
READ_WRITE_DEVICE = _READ_FILE | _WRITE_FILE
WORK = READ | _WRITE_FILE | _REMOVE | _MAKE_DIR_REG | _MAKE_FIFO_SYM | _REFER | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE


def missing() -> str | None:
    """Name what this machine lacks for a confined script; None when nothing is lacking."""
    if sys.platform != "linux":
        return "Linux"
    if not syscall_filter.supported(os.uname().machine):
        return f"a system call filter for {os.uname().machine}"
    abi = landlock_abi()
    if abi < 1:
        return "Landlock in the kernel"
    if os.geteuid() != 0 and abi < _SAME_USER_SINCE:
        return f"Landlock ABI {_SAME_USER_SINCE} or a worker that may change its user"
    if _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0, 0, 0) != -_EFAULT:
        return "seccomp filters in the kernel"
    return None


def landlock_abi() -> int:
    """The version of Landlock that the kernel speaks; 0 when there is none."""
    return max(0, _call("syscall", _SYS_CREATE_RULESET, None, 0, _VERSION_QUERY))


def prctl(option: int, value: int) -> None:
    """Change an attribute of the calling process.

    Raises:
        OSError: The kernel refused.
    """
    _checked("prctl", option, value, 0, 0, 0)


class Landlock:
    """The part of the file system that a script may see.

    Built while the process may still open every path, put in force by `restrict` after it no longer
    may. A path that does not exist is passed over: it grants nothing.
    """

    def __init__(self) -> None:
        self._abi = landlock_abi()
        self._handled = _rights_known_to(self._abi)
        attributes = pack("=Q", self._handled)
        if self._abi >= 4:
            attributes += pack("=Q", 0b11)  # TCP: neither bind nor connect, to any port
        if self.signals_scoped:
            attributes += pack("=Q", 0b11)  # abstract sockets and signals: the script's own only
        self._ruleset = _checked(
            "syscall", _SYS_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0
        )

    @property
    def signals_scoped(self) -> bool:
        """Whether signals to processes outside are refused."""
        return self._abi >= _SCOPED_SINCE

    def allow(self, path: str, rights: int) -> None:
        """Allow `rights` at and below `path`, following symbolic links."""
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return
        try:
            if not os.path.isdir(path):
                rights &= _OF_A_FILE
            rule = pack("=Qi", rights & self._handled, descriptor)
            _checked(
                "syscall", _SYS_ADD_RULE, self._ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0
            )
        finally:
            os.close(descriptor)

    def restrict(self) -> None:
        """Put the rules in force. `give_up_privileges` must have been called before."""
        _checked("syscall", _SYS_RESTRICT_SELF, self._ruleset, 0)
        os.close(self._ruleset)


def change_user(uid: int) -> None:
    """Become `uid`, with the group of the same number and no other."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def give_up_privileges() -> None:
    """Drop every capability and the chance to gain one, by setuid programs included."""
    header = pack("=II", 0x20080522, 0)  # version 3, this process
    _checked("capset", ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def filter_system_calls(*, own_user: bool, signals_scoped: bool) -> None:
    """Install the system call filter; nothing but execve should follow."""
    code = syscall_filter.program(
        os.uname().machine, own_user=own_user, signals_scoped=signals_scoped
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    program = pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    _checked("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(program), 0, 0)


def limit(limits: Mapping[str, int]) -> None:
    """Set hard limits, named as in `resource` without `RLIMIT_`; none above the one in force."""
    for name, value in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(which, (value, value))


def threads_of(uid: int) -> int:
    """Count the threads of a user, which is what RLIMIT_NPROC counts."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it ended while we looked
    return count


def die_first() -> None:
    """Make the kernel choose this process, not the worker, when memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")


def _rights_known_to(abi: int) -> int:
    since = {1: 13, 2: 14, 3: 15, 5: 16}
    return (1 << max(bits for version, bits in since.items() if version <= abi)) - 1


def _call(function: str, *arguments: object) -> int:
    """Call the C library; the negative errno on failure."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = getattr(library, function)(*_as_longs(arguments))
    return -ctypes.get_errno() if answer == -1 else int(answer)


def _checked(function: str, *arguments: object) -> int:
    answer = _call(function, *arguments)
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer


def _as_longs(arguments: Sequence[object]) -> list[object]:
    """Widen integers: a variadic call would leave the upper half of a register undefined."""
    return [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
