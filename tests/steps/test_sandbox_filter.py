"""The system call filter, run on a small machine, for both architectures."""

import struct

import pytest

from activities.clients import syscall_filter

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS = ERRNO | 1, ERRNO | 38
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# From the kernel's tables: x86_64, aarch64.
READ, OPENAT, EXECVE, GETPID = (0, 63), (257, 56), (59, 221), (39, 172)
SOCKET, CONNECT, PTRACE, MOUNT, BPF = (41, 198), (42, 203), (101, 117), (165, 40), (321, 280)
SETSID, KEYCTL, UNSHARE, KILL_CALL = (112, 157), (250, 219), (272, 97), (62, 129)
CLONE, CLONE3, SOCKETPAIR, IOCTL = (56, 220), (435, 435), (53, 199), (16, 29)
PRLIMIT, FCHMODAT, UTIMENSAT = (302, 261), (268, 53), (280, 88)


def decide(program: bytes, architecture: int, number: int, *args: int) -> int:
    """Interpret the classic BPF of a filter over one `struct seccomp_data`."""
    padded = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    tests = {
        0x15: lambda a, k: a == k,
        0x25: lambda a, k: a > k,
        0x35: lambda a, k: a >= k,
        0x45: lambda a, k: bool(a & k),
    }
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x54:
            accumulator &= value
        else:
            at += yes if tests[code](accumulator, value) else no


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(
    machine: str, call: tuple[int, int], *args: int, own_user: bool = True, scoped: bool = True
) -> int:
    program = syscall_filter.program(machine, own_user=own_user, signals_scoped=scoped)
    return decide(program, ARCHITECTURES[machine], call[machine == "aarch64"], *args)


@pytest.mark.parametrize("call", [READ, OPENAT, EXECVE, GETPID, KILL_CALL, FCHMODAT])
def test_ordinary_calls_pass(machine: str, call: tuple[int, int]) -> None:
    assert ask(machine, call) == ALLOW


@pytest.mark.parametrize("call", [SOCKET, CONNECT, PTRACE, MOUNT, BPF, SETSID, KEYCTL, UNSHARE])
def test_calls_that_reach_out_do_not(machine: str, call: tuple[int, int]) -> None:
    assert ask(machine, call) == EPERM


def test_a_foreign_architecture_is_killed(machine: str) -> None:
    program = syscall_filter.program(machine, own_user=True, signals_scoped=True)
    assert decide(program, 0x40000003, 0) == KILL


def test_calls_that_the_list_cannot_know_are_not_implemented(machine: str) -> None:
    assert ask(machine, CLONE3) == ENOSYS
    assert ask(machine, (463, 463)) == ENOSYS
    assert ask(machine, (0x40000000 | 41, 0x40000000 | 41)) == EPERM
    assert ask(machine, (-1, -1)) == EPERM


@pytest.mark.parametrize("bit", [17, 25, 26, 27, 28, 29, 30])
def test_threads_and_processes_but_no_namespaces(machine: str, bit: int) -> None:
    assert ask(machine, CLONE, 0x3D0F00) == ALLOW
    assert ask(machine, CLONE, 17) == ALLOW
    assert ask(machine, CLONE, 17 | 1 << bit) == EPERM


def test_only_stream_pairs(machine: str) -> None:
    assert ask(machine, SOCKETPAIR, 1, 1 | 0o2000000) == ALLOW
    assert ask(machine, SOCKETPAIR, 1, 2) == EPERM
    assert ask(machine, SOCKETPAIR, 1, 5) == EPERM
    assert ask(machine, SOCKETPAIR, 2, 1) == EPERM


def test_no_typing_into_a_terminal(machine: str) -> None:
    assert ask(machine, IOCTL, 0, 0x5401) == ALLOW
    assert ask(machine, IOCTL, 0, 0x5412) == EPERM
    assert ask(machine, IOCTL, 0, 0x541C) == EPERM


def test_the_workers_own_user_is_held_tighter(machine: str) -> None:
    assert ask(machine, FCHMODAT, own_user=False) == EPERM
    assert ask(machine, PRLIMIT, 0, own_user=False) == ALLOW
    assert ask(machine, PRLIMIT, 4711, own_user=False) == EPERM
    assert ask(machine, UTIMENSAT, 3, 0, own_user=False) == ALLOW
    assert ask(machine, UTIMENSAT, 3, 1 << 32, own_user=False) == EPERM
    assert ask(machine, KILL_CALL, own_user=False) == ALLOW
    assert ask(machine, KILL_CALL, own_user=False, scoped=False) == EPERM


def test_an_unknown_machine_has_no_filter() -> None:
    assert not syscall_filter.supported("riscv64")
    with pytest.raises(KeyError):
        syscall_filter.program("riscv64", own_user=True, signals_scoped=True)
