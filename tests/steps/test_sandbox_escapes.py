"""Attempts to get out of the sandbox.

A probe prints `ESCAPED` when it got something and `held <errno>` when it was stopped. Probes that
do no harm are run without the sandbox as well, where they must get out: a probe that cannot escape
anywhere would prove nothing. A machine that cannot confine scripts has the refusal tests instead.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from activities.clients import confinement
from activities.clients.shell import Shell

pytestmark = pytest.mark.skipif(
    confinement.missing() is not None, reason="scripts are refused here, which other tests assert"
)

REPOSITORY = Path(__file__).resolve().parents[2]
AS_ROOT = os.geteuid() == 0

PRELUDE = """
import ctypes, errno, os, platform, signal, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
OUTSIDE, WORKER = sys.argv[1], int(sys.argv[2])

def syscall(x86, arm, *args):
    number = x86 if platform.machine() == "x86_64" else arm
    answer = libc.syscall(*map(ctypes.c_long, (number, *args)))
    if answer == -1:
        raise OSError(ctypes.get_errno(), "")
    return answer

def refused(x86, arm, *args):
    "A call whose arguments are wrong: any other error means that the kernel looked at them."
    try:
        return syscall(x86, arm, *args)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise
        return errno.errorcode[error.errno]

def put(path, flags=os.O_WRONLY | os.O_CREAT):
    return os.write(os.open(path, flags, 0o666), b"x")

def through_symlink(target, use):
    os.symlink(target, "link")
    return use("link")

def in_child(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, "")
    return "done"

try:
    print("ESCAPED", repr(PROBE())[:80])
except OSError as error:
    print("held", errno.errorcode.get(error.errno))
except (MemoryError, ValueError) as error:
    print("held", type(error).__name__)
"""


@dataclass(frozen=True)
class Probe:
    name: str
    attempt: str
    control: bool = False


def control(name: str, attempt: str) -> Probe:
    return Probe(name, attempt, control=True)


def root_control(name: str, attempt: str) -> Probe:
    """Escape, where there is no sandbox, if the worker is root."""
    return Probe(name, attempt, control=AS_ROOT)


READING = [
    root_control("shadow", "open('/etc/shadow').read()"),
    root_control("home of root", "os.listdir('/root')"),
    control("passwd", "open('/etc/passwd').read()"),
    control("host name", "open('/etc/hostname').read()"),
    control("root directory", "os.listdir('/')"),
    control("temporary directory", "os.listdir('/tmp')"),
    control("outside file", "open(OUTSIDE + '/file').read()"),
    control("repository", f"open({str(REPOSITORY / 'pyproject.toml')!r}).read()"),
    control("processes", "os.listdir('/proc')"),
    control("first process", "open('/proc/1/stat').read()"),
    control("environment of the launcher", "open(f'/proc/{os.getppid()}/environ').read() or 1"),
    control("environment of the worker", "open(f'/proc/{WORKER}/environ').read()"),
    control("memory map of the worker", "open(f'/proc/{WORKER}/maps').read()"),
    control("command line of the worker", "open(f'/proc/{WORKER}/cmdline').read()"),
    control("own descriptors", "os.listdir('/proc/self/fd')"),
    control("root by way of proc", "open('/proc/self/root/etc/passwd').read()"),
    control("up from the work directory", "open('../../../../etc/passwd').read()"),
    control("kernel settings", "open('/proc/sys/kernel/osrelease').read()"),
    control("sys", "os.listdir('/sys')"),
    control("devices", "os.listdir('/dev')"),
    control("shared memory", "os.listdir('/dev/shm')"),
    control("through a symbolic link", "through_symlink('/etc/passwd', lambda p: open(p).read())"),
    Probe("up from the interpreter", "os.listdir(os.open('..', os.O_RDONLY, dir_fd=200))"),
    Probe("passwd from the interpreter", "os.open('../' * 9 + 'etc/passwd', 0, dir_fd=200)"),
    Probe("worker's memory", "open(f'/proc/{WORKER}/mem', 'rb').read(1)"),
    Probe("worker's descriptors", "os.listdir(f'/proc/{WORKER}/fd')"),
    Probe("kernel log", "os.open('/dev/kmsg', os.O_RDONLY)"),
]

WRITING = [
    control("new file", "put(OUTSIDE + '/new')"),
    control("existing file", "put(OUTSIDE + '/file', os.O_WRONLY)"),
    control("append", "put(OUTSIDE + '/file', os.O_WRONLY | os.O_APPEND)"),
    control("truncate", "os.truncate(OUTSIDE + '/file', 0) or 1"),
    control("truncate by opening", "os.open(OUTSIDE + '/file', os.O_RDONLY | os.O_TRUNC)"),
    control("remove", "os.remove(OUTSIDE + '/file') or 1"),
    control("make a directory", "os.mkdir(OUTSIDE + '/directory') or 1"),
    control("remove a directory", "os.rmdir(OUTSIDE + '/empty') or 1"),
    control("rename outside", "os.rename(OUTSIDE + '/file', OUTSIDE + '/moved') or 1"),
    control("move in", "os.rename(OUTSIDE + '/file', 'stolen') or 1"),
    control("move out", "os.rename('script.py', OUTSIDE + '/dropped') or 1"),
    control("hard link in", "os.link(OUTSIDE + '/file', 'linked') or open('linked').read()"),
    control("hard link out", "os.link('script.py', OUTSIDE + '/linked') or 1"),
    control("symbolic link outside", "os.symlink('/', OUTSIDE + '/link') or 1"),
    control("write through a link", "through_symlink(OUTSIDE, lambda p: put(p + '/file'))"),
    control("temporary file elsewhere", "put('/tmp/' + os.path.basename(OUTSIDE) + '.x') and 1"),
    control("pipe outside", "os.mkfifo(OUTSIDE + '/pipe') or 1"),
    control("change the mode", "os.chmod(OUTSIDE + '/file', 0o777) or 1"),
    control("change the owner", "os.chown(OUTSIDE + '/file', os.getuid(), -1) or 1"),
    Probe("over the interpreter", "put('/proc/self/fd/200/lib/new')"),
    Probe("system programs", "put('/usr/bin/new')"),
    Probe("own score", "open('/proc/self/oom_score_adj', 'w').write('-1000')"),
    Probe("character device", "os.mknod('d', 0o020666, os.makedev(1, 8)) or 1"),
    Probe("block device", "os.mknod('d', 0o060666, os.makedev(8, 0)) or 1"),
]

RUNNING = [
    control("program outside", "subprocess.run([OUTSIDE + '/program'], check=True) and 1"),
    root_control("become root", "os.setresuid(0, 0, 0) or 1"),
    root_control("become somebody", "in_child(lambda: os.setresuid(4711, 4711, 4711))"),
]

NETWORK = [
    control("tcp", "socket.socket(socket.AF_INET, socket.SOCK_STREAM)"),
    control("tcp6", "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)"),
    control("udp", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"),
    control("unix", "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)"),
    control("unix datagram", "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    control("netlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)"),
    control("datagram pair", "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    control("packet pair", "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)"),
    control("bind a pair", "socket.socketpair()[0].bind('name') or 1"),
    Probe("raw", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)"),
    Probe("packet", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    Probe("vsock", "socket.socket(40, socket.SOCK_STREAM)"),
    Probe("alg", "socket.socket(38, socket.SOCK_SEQPACKET)"),
]

KERNEL = [
    control("trace the worker", "refused(101, 117, 16, -1)"),
    control("read memory of a process", "refused(310, 270, 99999999, 1, 1, 1, 1, 0)"),
    control("write memory of a process", "refused(311, 271, 99999999, 1, 1, 1, 1, 0)"),
    control("mount", "refused(165, 40, 1, 1, 1, 0, 0)"),
    control("unmount", "refused(166, 39, 1, 0)"),
    control("open a tree", "refused(428, 428, -1, 1, 0)"),
    control("file system context", "refused(430, 430, 1, 0)"),
    control("change root", "refused(161, 51, 1)"),
    control("pivot root", "refused(155, 41, 1, 1)"),
    control("unshare", "refused(272, 97, 1)"),
    control("join a namespace", "refused(308, 268, -1, 0)"),
    control("bpf", "refused(321, 280, 999, 1, 0)"),
    control("performance events", "refused(298, 241, 1, 0, 0, 0, 0)"),
    control("keys", "refused(250, 219, 0, -3, 0)"),
    control("add a key", "refused(248, 217, 1, 1, 1, 1, 1)"),
    control("personality", "refused(135, 92, -1)"),
    control("file handle", "refused(303, 264, -1, 1, 1, 1, 0)"),
    control("open by handle", "refused(304, 265, -1, 1, 0)"),
    control("watch the file system", "refused(254, 27, -1, 1, 1)"),
    control("descriptor of a process", "refused(438, 438, -1, 0, 0)"),
    control("new session", "in_child(os.setsid)"),
    control("new process group", "in_child(lambda: os.setpgid(0, 0))"),
    control("shared memory segment", "refused(29, 194, 0, 0, 0)"),
    control("message queue", "refused(68, 186, 1, 0)"),
    control("semaphores", "refused(64, 190, 0, -1, 0)"),
    control("clone with a user namespace", "refused(56, 220, 0x10000000 | 0x800000, 0, 0, 0, 0)"),
    Probe("clone3", "refused(435, 435, 1, 88)"),
    Probe("io_uring", "refused(425, 425, 1, 1)"),
    Probe("userfaultfd", "refused(323, 282, -1)"),
    Probe("load a module", "refused(313, 273, -1, 1, 0)"),
    Probe("load a kernel", "refused(246, 104, 0, 0, 1, -1)"),
    Probe("set the clock", "refused(227, 112, 0, 1)"),
    Probe("host name", "refused(170, 161, 1, 1)"),
    Probe("future call", "refused(600, 600, 0)"),
    Probe("x32 socket", "refused(0x40000000 | 41, 0x40000000 | 41, 2, 1, 0)"),
]

PROCESSES = [
    control("signal the worker", "os.kill(WORKER, 0) or 1"),
    control("signal the launcher", "os.kill(os.getppid(), 0) or 1"),
    control("signal a group", "os.killpg(os.getpgid(WORKER), 0) or 1"),
    control("signal by descriptor", "signal.pidfd_send_signal(os.pidfd_open(WORKER), 0) or 1"),
    control("processors of the worker", "os.sched_setaffinity(WORKER, {0, 1}) or 1"),
    Probe("signal the first process", "os.kill(1, 0) or 1"),
    Probe("limits of the worker", "__import__('resource').prlimit(WORKER, 7) and 1"),
    Probe("raise a limit", "__import__('resource').setrlimit(7, (4096, 4096)) or 1"),
    Probe("memory", "len(bytearray(3 << 30))"),
    Probe("one large file", "[put('f', 0o102 | 0o2000), os.truncate('f', 65 << 20)]"),
]

PROBES = [*READING, *WRITING, *RUNNING, *NETWORK, *KERNEL, *PROCESSES]


@pytest.fixture
def outside() -> Iterator[Path]:
    """A place that ordinary permissions leave open to everybody."""
    place = Path("/tmp") / f"outside-{os.urandom(8).hex()}"
    (place / "empty").mkdir(parents=True)
    (place / "file").write_text("canary")
    shutil.copy("/bin/true", place / "program")
    for path, mode in (("", 0o777), ("empty", 0o777), ("file", 0o666), ("program", 0o755)):
        (place / path).chmod(mode)
    yield place
    shutil.rmtree(place)
    place.with_name(f"{place.name}.x").unlink(missing_ok=True)


async def _attempt(sandbox: Shell, probe: Probe, outside: Path) -> str:
    source = f"def PROBE(): return {probe.attempt}\n{PRELUDE}"
    # A live process of the worker's user stands for the worker.
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        args = [str(outside), str(worker.pid)]
        result = await sandbox.run("python", source, args=args, timeout=60)
        assert worker.poll() is None
    finally:
        worker.kill()
        worker.wait()
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
async def test_a_confined_script_is_held(probe: Probe, outside: Path) -> None:
    before = sorted(path.name for path in outside.iterdir())
    answer = await _attempt(Shell("auto"), probe, outside)
    assert answer.startswith("held ")
    assert sorted(path.name for path in outside.iterdir()) == before
    assert (outside / "file").read_text() == "canary"


@pytest.mark.parametrize(
    "probe", [probe for probe in PROBES if probe.control], ids=lambda probe: probe.name
)
async def test_the_probe_escapes_without_the_sandbox(probe: Probe, outside: Path) -> None:
    assert "ESCAPED" in await _attempt(Shell("none"), probe, outside)
