"""Whatever ends a script, nothing of it is left: no process, no file."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from activities.clients import confinement
from activities.clients.sandbox import wipe
from activities.clients.shell import Mode, ScriptTimeout, Shell
from engine.errors import StepError

MODES: list[Mode] = ["auto", "none"] if confinement.missing() is None else ["none"]
CONFINES = pytest.mark.skipif(
    confinement.missing() is not None, reason="scripts are refused here, which other tests assert"
)
REPOSITORY = Path(__file__).resolve().parents[2]

#: Seconds after which a script is stopped that is to have begun by then: more on a busy machine.
ENOUGH = (2, 10, 60)

DAEMON = """
import os, signal, sys, time
print("started", flush=True)
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork():
        if sys.argv[2] == "stay":
            time.sleep(600)
        os._exit(0)
    try:
        os.setsid()
    except PermissionError:
        pass
    try:
        os.setpgid(0, 0)
    except PermissionError:
        pass
for stream in (0, 1, 2):
    os.close(stream)
os.execv("/bin/sleep", [sys.argv[1], "600"])
"""


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    value: Mode = request.param
    return value


@pytest.fixture
def mark() -> str:
    """A word that is found in the command lines of a script's processes."""
    return f"mark-{secrets.token_hex(8)}"


def marked(mark: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if mark in command and "pytest" not in " ".join(command):
                found.append(f"{process.pid} {process.status()}")
        except psutil.Error:
            continue
    return found


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the scripts of one test work, and nobody else's; any user can walk to it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="signalbox-test-") as name:
        Path(name).chmod(0o711)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(name)


def work_directories(place: Path) -> list[Path]:
    return list(place.glob("signalbox-script-*"))


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_daemon_does_not_outlive_its_script(mode: Mode, mark: str) -> None:
    result = await Shell(mode).run("python", DAEMON, args=[mark, "leave"], timeout=60)
    assert (result.exit_code, result.stdout) == (0, "started\n")
    assert marked(mark) == []


async def test_a_time_out_kills_everything_and_keeps_the_output(
    mode: Mode, mark: str, place: Path
) -> None:
    for timeout in ENOUGH:
        with pytest.raises(ScriptTimeout) as caught:
            await Shell(mode).run("python", DAEMON, args=[mark, "stay"], timeout=timeout)
        assert caught.value.stable_code == "script_timeout"
        assert marked(mark) == []
        assert work_directories(place) == []
        if caught.value.stdout:
            break
    assert caught.value.stdout == "started\n"


async def test_a_cancellation_kills_everything(mode: Mode, mark: str) -> None:
    task = asyncio.create_task(Shell(mode).run("python", DAEMON, args=[mark, "stay"], timeout=600))
    await eventually(lambda: len(marked(mark)) == 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marked(mark) == []


async def test_a_cancellation_at_any_moment_leaves_nothing(
    mode: Mode, mark: str, place: Path
) -> None:
    for moment in range(8):
        task = asyncio.create_task(
            Shell(mode).run("shell", f"sleep 600 # {mark}", args=[mark], timeout=600)
        )
        await asyncio.sleep(moment * 0.012)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await eventually(lambda: marked(mark) == [])
    await eventually(lambda: work_directories(place) == [])


async def test_a_failing_tick_kills_the_script(mode: Mode, mark: str) -> None:
    def fail() -> None:
        raise RuntimeError("the heartbeat failed")

    with pytest.raises(RuntimeError, match="heartbeat"):
        await Shell(mode).run("shell", "sleep 600", args=[mark], timeout=600, on_tick=fail)
    assert marked(mark) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_the_death_of_the_worker_ends_the_script(
    mode: Mode, mark: str, number: signal.Signals, place: Path
) -> None:
    program = (
        "import asyncio, sys\n"
        "from activities.clients.shell import Shell\n"
        "shell = Shell(sys.argv[1])\n"
        "args = [sys.argv[2], 'stay']\n"
        "asyncio.run(shell.run('python', sys.stdin.read(), args=args, timeout=600))"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", program, mode, mark], stdin=subprocess.PIPE, cwd=REPOSITORY
    )
    assert worker.stdin is not None
    worker.stdin.write(DAEMON.encode())
    worker.stdin.close()
    # The worker itself bears the mark too.
    await eventually(lambda: len(marked(mark)) == 5)
    assert len(work_directories(place)) == 1
    worker.send_signal(number)
    await asyncio.to_thread(worker.wait)
    await eventually(lambda: marked(mark) == [])
    await eventually(lambda: work_directories(place) == [])


async def test_the_death_of_the_launcher_is_told(mode: Mode, mark: str, place: Path) -> None:
    source = 'sh -c "sleep 600; true" $1 & sleep 600'
    task = asyncio.create_task(Shell(mode).run("shell", source, args=[mark], timeout=600))
    await eventually(lambda: len(marked(mark)) == 2)
    assert len(work_directories(place)) == 1
    script = min(int(line.split()[0]) for line in marked(mark))
    launcher = psutil.Process(script).ppid()
    assert psutil.Process(launcher).ppid() == os.getpid()
    os.kill(launcher, signal.SIGKILL)
    with pytest.raises(StepError) as caught:
        await task
    assert caught.value.stable_code == "script_lost"
    await eventually(lambda: marked(mark) == [])
    assert work_directories(place) == []


@CONFINES
async def test_a_fork_bomb_is_bounded_and_ends(mark: str) -> None:
    source = (
        "import os, time\n"
        "made = 0\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(600)\n"
        "        made += 1\n"
        "    except BlockingIOError:\n"
        "        break\n"
        "print(made)\n"
    )
    result = await Shell("auto").run("python", source, timeout=60)
    assert result.stderr == ""
    assert 0 < int(result.stdout) <= 64
    relentless = (
        "import contextlib, os\n"
        "while True:\n"
        "    with contextlib.suppress(BlockingIOError):\n"
        "        os.fork()\n"
    )
    with pytest.raises(ScriptTimeout):
        await Shell("auto").run("python", relentless, args=[mark], timeout=2)
    assert marked(mark) == []


async def test_a_script_that_never_stops_writing_is_stopped(mode: Mode) -> None:
    for timeout in ENOUGH:
        with pytest.raises(ScriptTimeout) as caught:
            await Shell(mode).run("shell", "yes", timeout=timeout, max_output=10)
        if caught.value.stdout:
            break
    assert (caught.value.stdout, caught.value.truncated) == ("y\n" * 5, True)


async def test_the_work_directory_is_wiped_whatever_is_in_it(mode: Mode, place: Path) -> None:
    source = (
        "import os\n"
        "os.symlink('/etc', 'etc'); os.mkfifo('pipe'); open('.hidden', 'w').close()\n"
        "os.mkdir('closed'); open('closed/file', 'w').close()\n"
        "for _ in range(1500):\n"
        "    os.mkdir('deep'); open('deep-file', 'w').close(); os.chdir('deep')\n"
        "os.chdir(os.environ['HOME'])\n"
        "os.chmod('closed', 0); os.chmod('.', 0o500)\n"
    )
    result = await Shell(mode).run("python", source, timeout=60)
    assert (result.exit_code, result.stderr) == (0, "")
    assert work_directories(place) == []
    assert Path("/etc/passwd").exists()


def test_wiping_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    filled = tmp_path / "filled"
    (filled / "a" / "b").mkdir(parents=True)
    (filled / "a" / "link").symlink_to(kept)
    (filled / "a" / "b" / "link").symlink_to(kept)
    wipe(str(filled))
    wipe(str(tmp_path / "absent"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").exists()


@CONFINES
async def test_runs_do_not_see_each_other(place: Path) -> None:
    first = asyncio.create_task(
        Shell("auto").run("shell", "echo secret > note; sleep 600", timeout=600)
    )
    try:
        await eventually(lambda: any((path / "note").exists() for path in work_directories(place)))
        (note,) = [path / "note" for path in work_directories(place) if (path / "note").exists()]
        source = "cat $1; ls $2; echo x > $1; kill -9 $3"
        owner = next(
            process.pid
            for process in psutil.process_iter()
            if process.name() == "sh" and Path(process.cwd()) == note.parent
        )
        result = await Shell("auto").run(
            "shell", source, args=[str(note), str(note.parent), str(owner)], timeout=60
        )
        assert "secret" not in result.stdout
        assert result.stderr.count("ermi") >= 3
        assert psutil.pid_exists(owner)
        assert note.read_text() == "secret\n"
    finally:
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert work_directories(place) == []
