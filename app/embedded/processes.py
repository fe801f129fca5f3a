"""Child processes that are kept running, speak through one mouth, and never outlive us.

Every child is tied to this process (`app.embedded.tether`), is the leader of its own session, so
that a Ctrl-C in the terminal reaches the supervisor alone and children end in its order, and has
its output passed on line by line under its name.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.embedded import tether

#: Seconds. The pause before a child is started again doubles from the first to the last of these.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: Seconds. A child that ran for as long as this was well, and its failures are forgotten.
_WELL = 5.0
#: Bytes. A longer line is passed on in pieces.
_LONGEST_LINE = 64 * 1024

Say = Callable[[str, str], None]


@dataclass(frozen=True)
class Command:
    """What is run.

    Attributes:
        name: what its lines are marked with.
        words: the program, as a path, and its arguments.
        variables: its whole environment.
        grace: seconds between asking it to stop and killing it.
        descriptors: open files that it inherits under the same numbers.
    """

    name: str
    words: Sequence[str]
    variables: Mapping[str, str]
    grace: float = 10
    descriptors: tuple[int, ...] = ()


class Child:
    """One command, run once or kept running."""

    def __init__(self, command: Command, say: Say) -> None:
        self.command = command
        #: How often in a row it has ended soon after its start.
        self.failures = 0
        self._say = say
        self._stopping = False
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> int:
        """Run it once and answer its exit code, negative for the signal that ended it."""
        words = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
        # A pipe of our own: asyncio would wait for the end of its pipe too, and what the child has
        # started may hold that open for longer than the child lives.
        ours, theirs = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                *self.command.words,
                env=dict(self.command.variables),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self.command.descriptors,
            )
        finally:
            os.close(theirs)
            relay = asyncio.create_task(self._relay(ours))
        if self._stopping:
            self._signal(signal.SIGTERM)
        try:
            code = await self._process.wait()
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            await asyncio.wait([relay], timeout=1)
            relay.cancel()
        return code

    def keep(self) -> None:
        """Start it, and start it again whenever it ends, until it is stopped."""
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ask it to stop, wait for as long as its grace, and kill it if that was too short."""
        self._stopping = True
        if self._keeping is None:
            return
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait([self._keeping], timeout=self.command.grace)
        if late:
            self._say(self.command.name, "did not stop in time and is killed")
            self.kill()
            await asyncio.wait([self._keeping], timeout=5)

    def kill(self) -> None:
        """End it at once."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    async def _keep(self) -> None:
        while not self._stopping:
            started = time.monotonic()
            try:
                how = _ended(await self.run())
            except OSError as error:
                how = f"could not be started ({error.strerror})"
            if self._stopping:
                return
            self.failures = 1 if time.monotonic() - started > _WELL else self.failures + 1
            pause = min(_FIRST_PAUSE * 2.0 ** (self.failures - 1), _LONGEST_PAUSE)
            self._say(self.command.name, f"{how}; starting it again in {pause:g} s")
            # In small parts, so that a stop does not wait for the rest of a pause.
            again = time.monotonic() + pause
            while not self._stopping and time.monotonic() < again:
                await asyncio.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _relay(self, pipe: int) -> None:
        """Pass on what is read from the pipe, until its end."""
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
        )
        rest = b""
        try:
            while part := await stream.read(_LONGEST_LINE):
                *lines, rest = (rest + part).split(b"\n")
                if len(rest) >= _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in filter(bytes.strip, lines):
                    self._say(self.command.name, line.decode(errors="replace").rstrip())
            if rest:
                self._say(self.command.name, rest.decode(errors="replace"))
        finally:
            transport.close()


def python(module: str, *arguments: str) -> list[str]:
    """The words that run one of our own modules with the interpreter that runs this one."""
    # -P: a folder in the present directory that is called like one of our rooms is not it.
    return [sys.executable, "-P", "-m", module, *arguments]


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
