"""The one door to running a user's script.

    SignalboxError
    └── StepError
        ├── SandboxUnavailable   this machine cannot confine a script, so none was run
        ├── ScriptTimeout        stopped at its time limit; carries what it had written
        └── (StepError itself)   `script_not_started`, `script_lost`

In mode `auto` a script runs under Landlock, seccomp, limits and, where the worker is root, a user
id of its own; where that cannot be had it is refused, never run plain. Mode `none` keeps the
limits, the empty environment and the killing, and is for deployments whose authors are all trusted.
What a script can and cannot do is told in `docs/reference/scripts.md`; how, in
`activities.clients.sandbox`.
"""

import asyncio
import contextlib
import io
import marshal
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from activities.clients import confinement
from activities.clients.sandbox import wipe
from activities.clients.sandbox_order import (
    Language,
    Order,
    Report,
    SandboxUnavailable,
    build,
    own_user,
)
from engine.errors import StepError

Mode = Literal["auto", "none"]

MAX_OUTPUT: Final = 1 << 20
"""Bytes of standard output and standard error together that are kept."""

_TICK: Final = 1.0
_GRACE: Final = 15.0  # seconds; the launcher gives up killing before
_CHUNK: Final = 1 << 16
# Nothing of ours is on the launcher's path until it asks, and the standard library comes first.
_LAUNCHER: Final = (
    "import sys;sys.path.append(sys.argv[1]);from activities.clients.sandbox import main;main()"
)
_ROOT: Final = str(Path(__file__).resolve().parents[2])
_CONFINING: Final = {"Landlock", "seccomp", "capabilities", "unprivileged user"}


class ScriptTimeout(StepError):
    """The script did not end in time and was killed.

    Attributes:
        stdout: what it had written until then, cut as in `ShellResult`.
        stderr: likewise.
        truncated: whether something was cut.
    """

    code = "script_timeout"

    def __init__(self, timeout: float, output: "_Output") -> None:
        super().__init__(self.code, f"The script did not end within {timeout:g} s.")
        self.stdout, self.stderr = output.text(1), output.text(2)
        self.truncated = output.truncated


@dataclass(frozen=True)
class ShellResult:
    """How a script ended by itself.

    Attributes:
        exit_code: 0 to 255; 128 plus the number of the signal, when one ended it.
        stdout: UTF-8, what is not being replaced by U+FFFD, and NUL too.
        stderr: likewise.
        truncated: the script wrote more than `max_output` bytes; the rest was thrown away.
    """

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool


class Shell:
    """Runs scripts, in the deployment's one mode.

    Args:
        mode: `auto` confines or refuses; `none` does not confine.
        missing: names what this machine lacks for confining, or None.
    """

    def __init__(
        self, mode: Mode, *, missing: Callable[[], str | None] = confinement.missing
    ) -> None:
        self._mode = mode
        self._missing = missing
        self._endings: set[asyncio.Task[None]] = set()

    async def run(
        self,
        language: Language,
        source: str,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float,
        max_output: int = MAX_OUTPUT,
        on_tick: Callable[[], None] | None = None,
    ) -> ShellResult:
        """Run a script to its end; kill it and all that it started on time-out or cancellation.

        Args:
            language: `shell` is `/bin/sh`; `python` is the worker's interpreter, isolated, with the
                standard library and without the worker's packages.
            source: the text of the script.
            args: its arguments.
            env: added to an environment of PATH, LANG, HOME and TMPDIR.
            timeout: seconds, from the call.
            max_output: bytes kept of both outputs together.
            on_tick: called about once a second while the script runs; if it raises, the script is
                killed.

        Raises:
            SandboxUnavailable: The mode is `auto` and the script cannot be confined here.
            ScriptTimeout: It did not end in time.
            StepError: `script_not_started` or `script_lost`.
            ValueError: An argument or a variable cannot be handed to a process.
        """
        confined = self._mode == "auto"
        if confined and (lacking := self._missing()):
            raise SandboxUnavailable(lacking)
        with contextlib.ExitStack() as held:
            uid, lock = None, None
            if confined and os.geteuid() == 0:
                uid, lock = held.enter_context(own_user())
            order = build(
                language, source, args, env or {}, timeout=timeout, confined=confined, uid=uid
            )
            report_from, report_to = os.pipe()
            report_file = held.enter_context(open(report_from, "rb", buffering=0))
            try:
                launcher = await _launch(report_to, lock)
            finally:
                os.close(report_to)
            output = _Output(max_output)
            ended = asyncio.ensure_future(_converse(launcher, order, report_file, output))
            try:
                in_time = await _wait(ended, timeout, on_tick)
            finally:
                await self._end(launcher, ended)
            if not in_time:
                raise ScriptTimeout(timeout, output)
            return _result(ended.result(), output)

    async def _end(
        self, launcher: asyncio.subprocess.Process, ended: "asyncio.Future[Report | None]"
    ) -> None:
        """Close the pipe, which kills what still runs, and wait for the launcher to clean up."""
        assert launcher.stdin is not None
        launcher.stdin.close()
        ending = asyncio.create_task(_see_off(launcher, ended))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        # A second cancellation leaves the waiting, not the killing.
        await asyncio.shield(ending)


class _Output:
    """What a script wrote, up to a number of bytes for both streams together."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._parts: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.truncated = False

    def add(self, stream: int, chunk: bytes) -> None:
        self._parts[stream] += chunk[: self._left]
        self.truncated = self.truncated or len(chunk) > self._left
        self._left -= min(len(chunk), self._left)

    def text(self, stream: int) -> str:
        # NUL is valid UTF-8, but no database column of text takes it.
        return self._parts[stream].decode("utf-8", "replace").replace("\0", "�")


async def _launch(report_to: int, lock: socket.socket | None) -> asyncio.subprocess.Process:
    """Start the launcher; it inherits the lock, so that its user is taken until it has ended."""
    kept = (report_to,) if lock is None else (report_to, lock.fileno())
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-B", "-c", _LAUNCHER, _ROOT, str(report_to)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={} if libraries is None else {"LD_LIBRARY_PATH": libraries},
        cwd="/",
        pass_fds=kept,
        start_new_session=True,
    )


async def _converse(
    launcher: asyncio.subprocess.Process, order: Order, report_file: io.FileIO, output: _Output
) -> Report | None:
    """Hand the order over, then read both outputs and the report until the launcher has ended."""
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    assert launcher.stderr is not None
    message = marshal.dumps(dict(order))
    pumps = asyncio.gather(_pump(launcher.stdout, 1, output), _pump(launcher.stderr, 2, output))
    # A launcher that died tells more by its missing report.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        launcher.stdin.write(len(message).to_bytes(8, "big") + message)
        await launcher.stdin.drain()
    script, report = await _read_report(report_file)
    if report is None:
        # What it leaves behind would hold the outputs open.
        await asyncio.to_thread(_clean_up, script, order["work"])
    await pumps
    await launcher.wait()
    return report


async def _pump(stream: asyncio.StreamReader, number: int, output: _Output) -> None:
    """Read to the end, also past the limit: a full pipe would stop the script for ever."""
    while chunk := await stream.read(_CHUNK):
        output.add(number, chunk)


async def _wait(
    ended: "asyncio.Future[Report | None]", timeout: float, on_tick: Callable[[], None] | None
) -> bool:
    """Wait for the end, ticking; False when the time is over first."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout
    while not ended.done():
        left = deadline - clock()
        if left <= 0:
            return False
        await asyncio.wait({ended}, timeout=min(left, _TICK))
        if on_tick is not None:
            on_tick()
    return True


async def _see_off(
    launcher: asyncio.subprocess.Process, ended: "asyncio.Future[Report | None]"
) -> None:
    await asyncio.wait({ended}, timeout=_GRACE)
    if not ended.done():
        with contextlib.suppress(ProcessLookupError):
            launcher.kill()
        await asyncio.wait({ended}, timeout=_GRACE)


async def _read_report(report_file: io.FileIO) -> tuple[int, Report | None]:
    """Read what the launcher tells: the script's process id, 0 for none, and how it ended."""
    reader = asyncio.StreamReader()
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), report_file
    )
    with contextlib.closing(transport):
        message = await reader.read()
    stream = io.BytesIO(message)
    script, report = 0, None
    while stream.tell() < len(message):
        told = marshal.load(stream)
        if isinstance(told, int):
            script = told
        else:
            report = told
    return script, report


def _clean_up(script: int, work: str) -> None:
    """Do for a launcher that was killed what it would have done."""
    if script:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script, signal.SIGKILL)
    wipe(work)


def _result(report: Report | None, output: _Output) -> ShellResult:
    if report is None or report["outcome"] == "stopped":
        raise StepError("script_lost", "The process that watched the script was killed.")
    if report["outcome"] == "refused":
        stage, _, reason = report["detail"].partition(": ")
        if stage in _CONFINING:
            raise SandboxUnavailable(f"{stage}, which the system refused ({reason})")
        raise StepError("script_not_started", f"The script could not be started ({reason}).")
    return ShellResult(report["exit_code"], output.text(1), output.text(2), output.truncated)
