"""Waits until some process has committed something, without asking the tables.

The first call, and the first after a lost connection, answers at once: what was committed before
the watch began cannot be known, and a caller that looks once too often misses nothing.
"""

import asyncio
import sqlite3
from typing import Any, Protocol

import psycopg
from sqlalchemy import URL

from store.connect import POSTGRESQL

#: The channel that `store.events` notifies.
CHANNEL = "signalbox"

_POLL = 0.05


class Watch(Protocol):
    """Notices commits."""

    async def wait(self, timeout: float) -> None:
        """Return soon after a commit, or after this many seconds."""

    def close(self) -> None:
        """Let go of the connection."""


class SqliteWatch:
    """Looks at a counter that SQLite raises when another connection, of any process, commits."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._seen = -1

    async def wait(self, timeout: float) -> None:
        """Return soon after a commit, or after this many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        before = self._seen
        while (version := self._version()) == before:
            remaining = deadline - loop.time()
            if remaining <= 0:
                return
            await asyncio.sleep(min(_POLL, remaining))
        self._seen = version

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version(self) -> int:
        # Some ten microseconds, without a lock to wait for: cheaper here than in a thread.
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            return int(version)
        except sqlite3.OperationalError:
            return self._seen


class PostgresqlWatch:
    """Listens on a connection of its own."""

    def __init__(self, url: URL) -> None:
        plain = url.set(drivername="postgresql")
        self._address = plain.render_as_string(hide_password=False)
        self._connection: psycopg.Connection[Any] | None = None
        self._turn = asyncio.Lock()

    async def wait(self, timeout: float) -> None:
        """Return soon after a commit that appended events, or after this many seconds."""
        try:
            async with asyncio.timeout(timeout), self._turn:
                await self._wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _wait(self) -> None:
        try:
            if self._connection is None:
                self._connection = await asyncio.to_thread(self._listen)
                return
            while not self._drain(self._connection):
                await _readable(self._connection.fileno())
        except psycopg.Error:
            self.close()
            # The caller's next query says that the database is lost; here it is not repeated at
            # the speed at which connections are refused.
            await asyncio.sleep(1)

    def _listen(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._address, autocommit=True, **POSTGRESQL)
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    @staticmethod
    def _drain(connection: psycopg.Connection[Any]) -> bool:
        """Read what has arrived; whether there was a notification."""
        connection.pgconn.consume_input()
        found = False
        while connection.pgconn.notifies() is not None:
            found = True
        return found


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def watch(url: URL) -> Watch:
    """The watch for a database, from `store.connect.parse`."""
    if url.get_backend_name() == "sqlite":
        return SqliteWatch(str(url.database))
    return PostgresqlWatch(url)
