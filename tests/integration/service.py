"""`signalbox up` as a user starts it: a data directory, a process, its lines and its children."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
import psutil

SIGNALBOX = str(Path(sys.executable).parent / "signalbox")
#: The same for rooms that `PYTHONPATH` leads to.
MODULE = [sys.executable, "-P", "-m", "app"]
#: Seconds for anything that a loaded machine may take long for.
PATIENCE = 120


def environment(directory: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command that works on a data directory."""
    ours = {"SIGNALBOX_DATA_DIR": str(directory), "SIGNALBOX_PORT": "0"}
    return {**os.environ, **ours, **(more or {})}


async def command(directory: Path, *words: str, **more: str) -> tuple[int, str, str]:
    """Run a command to its end: its exit status, what it printed, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        SIGNALBOX,
        *words,
        env=environment(directory, more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


class Service:
    """One `signalbox up` that runs: the installed one, or that of another checkout."""

    def __init__(self, directory: Path, checkout: Path | None = None) -> None:
        self.directory = directory
        self._checkout = checkout
        self.lines: list[str] = []
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._family: list[psutil.Process] = []

    async def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        program, more = [SIGNALBOX], {}
        if self._checkout is not None:
            program, more = MODULE, {"PYTHONPATH": str(self._checkout)}
        self._process = await asyncio.create_subprocess_exec(
            *program,
            "up",
            env=environment(self.directory, more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())
        ready = await self.line("ready http://")
        self.url = ready.removeprefix("ready ")
        self._family = self._process_tree()

    async def line(self, text: str, after: int = 0) -> str:
        """The first line that holds the text, of those after so many."""
        assert self._reading is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                for line in self.lines[after:]:
                    if text in line:
                        return line
                assert not self._reading.done(), f"no {text!r} in {self.lines}"
                await asyncio.sleep(0.05)

    async def child(self, *words: str, other_than: int = 0) -> psutil.Process:
        """The child whose command line holds all of the words, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for process in self._process_tree():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        if process.pid != other_than and set(words) <= set(process.cmdline()):
                            return process
                await asyncio.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        assert self._process is not None
        self._family = self._process_tree()
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end of the supervisor and of every child; answers the exit status."""
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(PATIENCE):
            status = await self._process.wait()
            await self._reading
            while alive := [p for p in self._family if _runs(p)]:
                assert status < 0, f"left behind by a clean end: {alive}"
                await asyncio.sleep(0.05)
        return status

    async def clean_up(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self._process is not None and self._process.returncode is None:
            self.send(signal.SIGKILL)
            await self.ended()

    async def get(self, path: str, key: str = "") -> httpx2.Response:
        """Ask the API."""
        return await self.request("GET", path, key)

    async def request(
        self, method: str, path: str, key: str = "", body: object = None
    ) -> httpx2.Response:
        """Ask the API, on a connection of its own."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(base_url=self.url, timeout=PATIENCE) as client:
            return await client.request(method, path, headers=headers, json=body)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip())

    def _process_tree(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return self._family


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
