"""`signalbox up`: Temporal, the worker and the API as one thing that is started and stopped.

    temporal   the embedded server, unless TEMPORAL_ADDRESS names another
    worker     carries out runs
    api        serves them

They are separate processes, and one that dies is started again. The socket of the API is opened
here and handed to it, so that a request which arrives while the API is away waits a moment instead
of being refused. A signal stops everything in order; the children are tied to this process, so
that not even its kill leaves one behind. All that counts is on disk: the next `up` goes on.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator

from app import deployment
from app.data_dir import DataDir
from app.embedded import ports, temporal_server
from app.embedded.printer import Printer
from app.embedded.processes import Child, Command, python
from app.settings import Settings
from engine.errors import Unavailable

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A child that fails as often in a row before anything was ready will not get well by itself.
_HOPELESS = 3


def up() -> int:
    """Run until a signal comes. Answers the exit status.

    Raises:
        SignalboxError: it could not be started; the message is one line that says what to do.
    """
    # All that the children write is theirs alone, the databases too.
    os.umask(0o077)
    directory = deployment.data_dir()
    lock = directory.lock()
    # Left behind by one that was killed, it would look like a server of somebody else's.
    directory.publish_temporal(None)
    settings = deployment.settings()
    try:
        listener = ports.listen(settings.host, settings.port)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unavailable(
            f"cannot listen on {settings.host} port {settings.port} ({reason}); "
            "set SIGNALBOX_HOST or SIGNALBOX_PORT"
        ) from error
    printer = Printer()
    try:
        return asyncio.run(_Up(settings, directory, listener, printer).run())
    finally:
        directory.publish_temporal(None)
        printer.close()
        os.close(lock)


class _Up:
    """What one `up` holds."""

    def __init__(
        self, settings: Settings, directory: DataDir, listener: socket.socket, printer: Printer
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._listener = listener
        self._printer = printer
        #: In the order in which they were started; they are stopped in the other.
        self._children: list[Child] = []
        self._variables = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}

    async def run(self) -> int:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            # `nohup` has a closed terminal ignored. (A shell's `&` does so with Ctrl-C too, but
            # then whoever sends one by hand means it.)
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            loop.add_signal_handler(number, self._on_signal, asked)
        waiting = asyncio.create_task(asked.wait())
        starting = asyncio.create_task(self._start())
        try:
            await asyncio.wait([waiting, starting], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await waiting
            return 0
        finally:
            waiting.cancel()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self._stop()

    def _on_signal(self, asked: asyncio.Event) -> None:
        if asked.is_set():
            self._printer.line("signalbox: killed before everything had stopped")
            for child in self._children:
                child.kill()
        asked.set()

    async def _start(self) -> None:
        """Start everything, and say when requests are served."""
        async with self._unless_hopeless():
            if os.environ.get("TEMPORAL_ADDRESS"):
                await self._migrate()
            else:
                await asyncio.gather(self._migrate(), self._temporal())
            key_lines = self._first_key()
            self._keep("worker", python("worker"), grace=20)
            self._keep(
                "api",
                python("app", "api", "--fd", str(self._listener.fileno())),
                descriptors=(self._listener.fileno(),),
            )
            await self._ready()
        for line in key_lines:
            self._printer.line(line)
        self._printer.line(f"ready {self._url}")

    async def _temporal(self) -> None:
        program = temporal_server.find()
        port = ports.free_port()
        address = f"{temporal_server.HOST}:{port}"
        self._variables = temporal_server.environment(self._variables, address)
        words = temporal_server.command(program, port, self._directory.temporal_db)
        self._keep("temporal", words)
        words = temporal_server.retention(program, address)
        command = Command("temporal", words, self._variables)
        while await Child(command, lambda name, line: None).run() != 0:
            await asyncio.sleep(0.1)
        self._directory.publish_temporal(address)

    async def _migrate(self) -> None:
        command = Command("migrate", python("app", "migrate"), self._variables)
        if await Child(command, self._printer.say).run() != 0:
            raise Unavailable("the database could not be brought up to date")

    def _first_key(self) -> list[str]:
        """See that the API knows a key; answers what to say about it."""
        if self._settings.api_key is not None:
            return ["API key: the one in SIGNALBOX_API_KEY"]
        # Here and not above, because SQL is a slow import that only the first start needs.
        from store.keys import new_token

        key, file, new = self._directory.api_key(new_token)
        self._variables["SIGNALBOX_API_KEY"] = key
        shown = f"{key} (kept in {file})" if new else f"in {file}"
        return [f"API key: {shown}"]

    def _keep(
        self, name: str, words: list[str], grace: float = 10, descriptors: tuple[int, ...] = ()
    ) -> None:
        command = Command(name, words, self._variables, grace, descriptors)
        child = Child(command, self._printer.say)
        self._children.append(child)
        child.keep()

    @contextlib.asynccontextmanager
    async def _unless_hopeless(self) -> AsyncGenerator[None, None]:
        """Give up on the block when a child keeps failing."""
        block = asyncio.current_task()
        assert block is not None
        failed: list[str] = []

        async def watch() -> None:
            while not failed:
                await asyncio.sleep(0.1)
                failed.extend(c.command.name for c in self._children if c.failures >= _HOPELESS)
            block.cancel()

        watching = asyncio.create_task(watch())
        try:
            yield
        except asyncio.CancelledError:
            if failed:
                raise Unavailable(f"{failed[0]} does not start; its lines above say why") from None
            raise
        finally:
            watching.cancel()

    async def _ready(self) -> None:
        while not await self._answers_ready():
            await asyncio.sleep(0.1)

    async def _answers_ready(self) -> bool:
        """Whether `/readyz` says 200."""
        host, port = self._address
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: up\r\nConnection: close\r\n\r\n")
                    return (await reader.readline()).split()[1:2] == [b"200"]
                finally:
                    writer.close()
        return False

    @property
    def _address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()[:2]
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port

    @property
    def _url(self) -> str:
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def _stop(self) -> None:
        """The API first, so that nothing new comes in; then the worker; Temporal last."""
        self._listener.close()
        for child in reversed(self._children):
            await child.stop()
