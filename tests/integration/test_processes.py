"""Children of the supervisor: started again, stopped in time, and never left behind."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.embedded import ports
from app.embedded.processes import Child, Command
from engine.errors import Conflict
from tests.integration.service import PATIENCE


def _command(code: str, grace: float = PATIENCE) -> Command:
    return Command("child", [sys.executable, "-I", "-c", code], os.environ, grace)


class Heard:
    """What children said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, name: str, line: str) -> None:
        self.lines.append(line)

    async def times(self, text: str, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while sum(text in line for line in self.lines) < count:
                await asyncio.sleep(0.02)


async def test_what_ends_is_started_again_after_longer_and_longer_pauses() -> None:
    heard = Heard()
    child = Child(_command("print('here'); raise SystemExit(3)"), heard.say)
    child.keep()
    await heard.times("starting it again", 3)
    await child.stop()
    assert child.pid is None
    assert [line for line in heard.lines if line != "here"][:3] == [
        f"ended with status 3; starting it again in {pause} s" for pause in ("0.1", "0.2", "0.4")
    ]
    assert child.failures >= 3


async def test_a_child_may_finish_what_it_does() -> None:
    heard = Heard()
    code = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('bye', flush=True)\n    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = Child(_command(code), heard.say)
    child.keep()
    await heard.times("up", 1)
    await child.stop()
    assert heard.lines == ["up", "bye"]


async def test_a_child_that_does_not_stop_is_killed() -> None:
    heard = Heard()
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = Child(_command(code, grace=0.2), heard.say)
    child.keep()
    await heard.times("up", 1)
    process = psutil.Process(child.pid)
    await child.stop()
    assert heard.lines == ["up", "did not stop in time and is killed"]
    assert not process.is_running()


async def test_lines_of_any_length_and_encoding_are_passed_on() -> None:
    heard = Heard()
    code = (
        "import sys\n"
        "sys.stdout.buffer.write(b'a' * 200_000 + b'\\n\\xff\\n\\n')\n"
        "sys.stdout.buffer.write(b'no end')\n"
    )
    assert await Child(_command(code), heard.say).run() == 0
    assert "".join(heard.lines) == "a" * 200_000 + "\ufffd" + "no end"
    assert heard.lines[-2:] == ["\ufffd", "no end"]


#: A parent that holds one child, says the child's pid, and then does as its argument says.
PARENT = """
import asyncio, os, sys
from app.embedded.printer import Printer
from app.embedded.processes import Child, Command

async def main():
    printer = Printer()
    code = sys.argv[1]
    child = Child(Command("child", [sys.executable, "-I", "-c", code], os.environ), printer.say)
    child.keep()
    while child.pid is None:
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await asyncio.sleep(float(sys.argv[2]))
    await child.stop()
    printer.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
async def test_a_child_does_not_outlive_a_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, "import time; time.sleep(600)", "600", stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))
    assert child.is_running()
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(PATIENCE):
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)


async def test_nobody_who_reads_does_not_stop_anybody(tmp_path: Path) -> None:
    """The child ends although far more was said than a pipe holds and nothing was read."""
    done = tmp_path / "done"
    code = f"for n in range(20_000): print('line', n)\nopen({str(done)!r}, 'w').close()"
    unread, theirs = os.pipe()
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, code, "600", stdout=theirs
    )
    os.close(theirs)
    try:
        async with asyncio.timeout(PATIENCE):
            while not done.exists():
                await asyncio.sleep(0.05)
    finally:
        parent.kill()
        await parent.wait()
        os.close(unread)


async def test_what_a_child_left_behind_does_not_hold_up_its_return() -> None:
    heard = Heard()
    code = (
        "import os, subprocess\n"
        "print('up', flush=True)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        "os._exit(0)\n"
    )
    async with asyncio.timeout(PATIENCE):
        assert await Child(_command(code), heard.say).run() == 0
    left = psutil.Process(int(heard.lines[1]))
    assert left.cmdline() == ["sleep", "600"]
    left.kill()


def test_a_port_that_is_taken_is_refused_by_name() -> None:
    port = ports.free_port()
    with (
        ports.listen("127.0.0.1", port),
        pytest.raises(Conflict, match=f"^port {port} is taken; set SIGNALBOX_PORT$"),
    ):
        ports.listen("127.0.0.1", port)


@pytest.mark.skipif(sys.platform != "linux", reason="the file is Linux's")
def test_a_free_port_is_none_that_outgoing_connections_get() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert lowest > 15_000
    assert all(ports.free_port() < lowest for _ in range(20))
