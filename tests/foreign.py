"""Starting and killing a worker of somebody else's, and reading what it wrote down."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

from tests.workflow.patience import until

_PROGRAM = Path(__file__).parent / "foreign_worker.py"


class ForeignWorker:
    """A second worker process, on a task queue of its own."""

    def __init__(self, address: str, journal: Path) -> None:
        self.queue = f"foreign-{uuid4().hex}"
        self._address = address
        self._journal = journal
        self._journal.touch()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it polls."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_PROGRAM),
            self._address,
            self.queue,
            str(self._journal),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            assert await self._process.stdout.readline() == b"ready\n"

    async def kill(self) -> None:
        """`kill -9`, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    def noted(self, what: str) -> Counter[tuple[str, str]]:
        """Activity id and workflow id of every line of that kind."""
        lines = [line.split(" ") for line in self._journal.read_text().splitlines()]
        return Counter((line[1], line[2]) for line in lines if line[0] == what)

    async def has_noted(self, what: str, count: int = 1) -> None:
        """Wait until there are so many lines of that kind."""
        await until(lambda: self.noted(what).total() >= count, f"not noted: {what}")


@contextlib.asynccontextmanager
async def foreign_worker(address: str, directory: Path) -> AsyncIterator[ForeignWorker]:
    """One that runs, until the block is left."""
    worker = ForeignWorker(address, directory / "foreign.journal")
    try:
        await worker.start()
        yield worker
    finally:
        await worker.kill()
