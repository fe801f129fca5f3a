"""The seccomp filter of a script: which system calls it may not make.

Landlock guards the file system; this filter guards everything else that reaches out of a process:
sockets, namespaces, mounts, tracing, kernel keys, kernel interfaces with a history of holes, and
calls that act on other processes of the same user. The program is classic BPF, built here with
`struct`, so that a script sandbox needs no system library.

The list names what is refused, because a list of what is allowed would break with each C library.
What the list cannot know, because the kernel got it later, is refused as "not implemented".
"""

from struct import pack

EPERM = 1
ENOSYS = 38

# `name x86_64 aarch64`; -1 where the architecture has no such call.
_REFUSED = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272,
process_madvise 440 440, process_mrelease 448 448, pidfd_getfd 438 438,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428,
move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
mount_setattr 442 442, unshare 272 97, setns 308 268,
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, memfd_secret 447 447,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427,
keyctl 250 219, add_key 248 217, request_key 249 218,
init_module 175 105, finit_module 313 273, delete_module 176 106, create_module 174 -1,
get_kernel_syms 177 -1, query_module 178 -1, kexec_load 246 104, kexec_file_load 320 294,
reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89, quotactl 179 60,
quotactl_fd 443 443, syslog 103 116, settimeofday 164 170, clock_settime 227 112,
adjtimex 159 171, clock_adjtime 305 266, sethostname 170 161, setdomainname 171 162,
name_to_handle_at 303 264, open_by_handle_at 304 265, lookup_dcookie 212 18,
fanotify_init 300 262, fanotify_mark 301 263, inotify_add_watch 254 27,
vhangup 153 58, personality 135 92, iopl 172 -1, ioperm 173 -1, modify_ldt 154 -1,
nfsservctl 180 42, uselib 134 -1, _sysctl 156 -1, ustat 136 -1, sysfs 139 -1,
socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242,
setsid 112 157, setpgid 109 154,
shmget 29 194, shmat 30 196, shmctl 31 195, shmdt 67 197, msgget 68 186, msgctl 71 187,
msgsnd 69 189, msgrcv 70 188, semget 64 190, semctl 66 191, semop 65 193, semtimedop 220 192,
mq_open 240 180, mq_unlink 241 181, migrate_pages 256 238, move_pages 279 239
"""

# Landlock does not govern metadata. Where the script has the worker's user, these would reach the
# worker's own files by path, so they are refused; where it has a user of its own, the kernel's
# ordinary permissions refuse them.
_REFUSED_TO_SAME_USER = """
chmod 90 -1, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
chown 92 -1, fchown 93 55, lchown 94 -1, fchownat 260 54,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7,
removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16,
utime 132 -1, utimes 235 -1, futimesat 261 -1,
setpriority 141 140, ioprio_set 251 30
"""

# Refused to the same user where Landlock cannot keep signals inside (ABI 5 and older).
_SIGNALS = """
kill 62 129, tkill 200 130, tgkill 234 131, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
pidfd_send_signal 424 424
"""

# `name x86_64 aarch64 argument`: allowed to the same user when that argument (a process id or a
# path) is zero, which means the caller itself, or a descriptor that is already open.
_ONLY_ON_ITSELF = """
prlimit64 302 261 0, sched_setscheduler 144 119 0, sched_setparam 142 118 0,
sched_setattr 314 274 0, sched_setaffinity 203 122 0, utimensat 280 88 1
"""

_COLUMNS = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE = (56, 220)
_CLONE3 = 435
_SOCKETPAIR = (53, 199)
_IOCTL = (16, 29)
_LAST_KNOWN = 456
_X32_BIT = 0x40000000

_NEW_NAMESPACES = 0x7E020000
_AF_UNIX = 1
_SOCK_STREAM = 1
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX

_LOAD, _JEQ, _JGT, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x25, 0x35, 0x45, 0x54, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16


def supported(machine: str) -> bool:
    """Say whether a filter can be built for `machine`, as `os.uname().machine` spells it."""
    return machine in _COLUMNS


def program(machine: str, *, own_user: bool, signals_scoped: bool) -> bytes:
    """Build the filter as an array of `struct sock_filter` (8 bytes an instruction).

    Args:
        machine: `x86_64` or `aarch64`.
        own_user: The script runs under a user id that nothing else has.
        signals_scoped: Landlock keeps the script's signals inside.

    Raises:
        KeyError: No filter is known for this machine.
    """
    column, architecture = _COLUMNS[machine]
    body = [
        _op(_LOAD, _ARCH_OFFSET),
        _op(_JEQ, architecture, yes=1),
        _op(_RET, _KILL),
        _op(_LOAD, _NR_OFFSET),
        *_refuse(_JGE, _X32_BIT, EPERM),
        *_refuse(_JGT, _LAST_KNOWN, ENOSYS),
        # The C library falls back to clone, whose flags a filter can see.
        *_refuse(_JEQ, _CLONE3, ENOSYS),
    ]
    tables = [_REFUSED]
    if not own_user:
        tables.append(_REFUSED_TO_SAME_USER)
        if not signals_scoped:
            tables.append(_SIGNALS)
    for table in tables:
        for _name, *numbers in _rows(table):
            if (number := int(numbers[column])) >= 0:
                body += _refuse(_JEQ, number, EPERM)
    if not own_user:
        for _name, *numbers, argument in _rows(_ONLY_ON_ITSELF):
            body += _when(int(numbers[column]), _only_zero(int(argument)))
    body += _when(_CLONE[column], [_argument(0), *_refuse(_JSET, _NEW_NAMESPACES, EPERM)])
    body += _when(_SOCKETPAIR[column], _only_connected_pairs())
    body += _when(_IOCTL[column], _no_terminal_injection())
    return b"".join([*body, _op(_RET, _ALLOW)])


def _rows(table: str) -> list[list[str]]:
    return [row.split() for row in table.split(",")]


def _op(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return pack("=HBBI", code, yes, no, value)


def _refuse(jump: int, value: int, error: int) -> list[bytes]:
    return [_op(jump, value, no=1), _op(_RET, _ERRNO | error)]


def _argument(index: int, *, high: bool = False) -> bytes:
    """Load half of a 64-bit argument; both architectures are little-endian."""
    return _op(_LOAD, _ARGS_OFFSET + 8 * index + (4 if high else 0))


def _when(number: int, rules: list[bytes]) -> list[bytes]:
    """Apply `rules` to one call and allow it if none of them has refused it."""
    return [_op(_JEQ, number, no=len(rules) + 1), *rules, _op(_RET, _ALLOW)]


def _only_zero(index: int) -> list[bytes]:
    return [
        _argument(index),
        _op(_JEQ, 0, yes=1),
        _op(_RET, _ERRNO | EPERM),
        _argument(index, high=True),
        _op(_JEQ, 0, yes=1),
        _op(_RET, _ERRNO | EPERM),
    ]


def _only_connected_pairs() -> list[bytes]:
    """Allow the stream pairs that event loops wake themselves with.

    A datagram pair could still be sent to any socket in the file system that has a name.
    """
    return [
        _argument(0),
        _op(_JEQ, _AF_UNIX, yes=1),
        _op(_RET, _ERRNO | EPERM),
        _argument(1),
        _op(_AND, 0xF),
        _op(_JEQ, _SOCK_STREAM, yes=1),
        _op(_RET, _ERRNO | EPERM),
    ]


def _no_terminal_injection() -> list[bytes]:
    rules = [_argument(1)]
    for request in _TERMINAL_INJECTION:
        rules += _refuse(_JEQ, request, EPERM)
    return rules
