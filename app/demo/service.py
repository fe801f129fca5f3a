"""The demonstration's service: `signalbox up` as a process of its own, on its own directory.

It is started and spoken to as a user would, knows nothing of the settings of whoever shows it, and
is tied to this process: however the demonstration ends, the service ends too.
"""

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from app.embedded.processes import python
from engine.errors import Unavailable

#: The settings of a real deployment have no place in a demonstration.
_SETTINGS = ("SIGNALBOX_", "TEMPORAL_", "WORKFLOW_", "DATABASE_URL")
#: The worker names itself by host, process and chance.
_WORKER = re.compile(r"worker \S+-(\d+)-[0-9a-f]{8} is ready")
_READY = re.compile(r"^ready (http://\S+)$")
#: Seconds that an orderly stop may take: those that `up` gives its children, and some more.
_GRACE = 40
#: How many of its last lines are repeated when it does not start.
_LAST = 12
#: Bytes. Longer than any line that `up` passes on.
_LONGEST_LINE = 256 * 1024


class Service:
    """One `signalbox up`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lines: list[str] = []
        self._over = False
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, settings: Mapping[str, str]) -> str:
        """Start it, and answer its address once it serves requests.

        Args:
            settings: more of its environment variables.

        Raises:
            Unavailable: it does not start; the message ends with its last lines.
        """
        ours = {"SIGNALBOX_DATA_DIR": str(self._directory), "SIGNALBOX_PORT": "0"}
        theirs = {k: v for k, v in os.environ.items() if not k.startswith(_SETTINGS)}
        self._process = await asyncio.create_subprocess_exec(
            *python("app", "up", "--stop-with-parent"),
            env={**theirs, **ours, **settings},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
            # A Ctrl-C is ours; the service is then stopped in order.
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        return (await self._said(_READY, 0))[1]

    async def worker(self) -> int:
        """The process that carries out runs: the latest one, once there is one."""
        await self._said(_WORKER, 0)
        return int([*filter(None, map(_WORKER.search, self._lines))][-1][1])

    async def replace_worker(self) -> int:
        """Kill the worker with SIGKILL, and answer the process that takes its place."""
        old, seen = await self.worker(), len(self._lines)
        os.kill(old, signal.SIGKILL)
        return int((await self._said(_WORKER, seen))[1])

    async def stop(self) -> None:
        """Stop it in order; a `hurry` meanwhile makes it stop at once."""
        process = self._process
        if process is None:
            return
        self.hurry()
        try:
            await asyncio.wait_for(process.wait(), _GRACE)
        except TimeoutError:
            process.kill()
            await process.wait()
        assert self._reading is not None
        await self._reading

    def hurry(self) -> None:
        """Ask it to stop; asked again, it kills what it waits for."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def _said(self, pattern: re.Pattern[str], after: int) -> re.Match[str]:
        """The first line that matches, of those after so many; waits for it."""

        def found() -> re.Match[str] | None:
            return next(filter(None, map(pattern.search, self._lines[after:])), None)

        async with self._news:
            await self._news.wait_for(lambda: found() is not None or self._over)
        match = found()
        if match is None:
            last = "\n".join(self._lines[-_LAST:])
            raise Unavailable(f"the service has ended; its last lines were:\n{last}")
        return match

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._lines.append(line.decode(errors="replace").rstrip())
            async with self._news:
                self._news.notify_all()
        self._over = True
        async with self._news:
            self._news.notify_all()
