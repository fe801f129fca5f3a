"""One transaction a call: `await database.write(lambda tx: runs.accept(tx, new))`.

The queries of this room are plain functions that take a transaction. They run in a thread of this
room's own, one hop for a whole transaction, so nothing in them is awaited and no transaction stays
open while something else is. A transaction that lost to another one, or whose connection was lost
before it committed, is run again; so the work given here must change nothing but the database.

PostgreSQL reads see one snapshot, as SQLite's do; its writes see what is committed by then.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from engine.errors import Unavailable
from store.connect import parse, postgresql_engine, sqlite_engine
from store.failures import Failure, judge
from store.watch import watch

#: A transaction under way; nobody outside this room needs to know whose class it is.
Tx = Connection
T = TypeVar("T")

#: Seconds between the attempts at one transaction.
_PAUSES = (0.02, 0.1, 0.5, 1.0)
#: Seconds after which no further attempt is made: each may take long to learn that it failed.
_PATIENCE = 5.0
_SQLITE_READERS = 4


class _AgainError(Exception):
    """The transaction did not happen and may be tried again."""


class Database:
    """The database of a process.

    Args:
        url: `sqlite:////path/file.db` or `postgresql://…`.
        durable: A commit has reached the disk before `write` answers (SQLite; PostgreSQL always).
        pool: Connections to PostgreSQL, which is also how many transactions run at a time.

    Raises:
        ValueError: No such kind of database.
    """

    def __init__(self, url: str, *, durable: bool = False, pool: int = 8) -> None:
        address = parse(url)
        self._watch = watch(address)
        if address.get_backend_name() == "sqlite":
            self.dialect: Literal["sqlite", "postgresql"] = "sqlite"
            self._writer = sqlite_engine(address, size=1, writes=True, durable=durable)
            self._reader = sqlite_engine(address, size=_SQLITE_READERS, writes=False)
            self._writing = ThreadPoolExecutor(1, "store-write")
            self._reading = ThreadPoolExecutor(_SQLITE_READERS, "store-read")
        else:
            self.dialect = "postgresql"
            self._writer = postgresql_engine(address, size=pool)
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._writing = self._reading = ThreadPoolExecutor(pool, "store")

    async def read(self, work: Callable[[Tx], T]) -> T:
        """What the work finds, in one read-only transaction.

        Raises:
            Unavailable: The database does not answer.
        """
        return await self._transact(self._reading, self._reader, work)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """What the work answers, once its one transaction is committed.

        An exception of the work undoes the transaction and passes through. A cancelled caller
        does not stop a transaction that has begun: it commits, or not, without being heard.

        Raises:
            Unavailable: The database does not answer. When it was lost in the middle of the
                commit, whether that happened is not known.
        """
        return await self._transact(self._writing, self._writer, work)

    async def ping(self) -> None:
        """Reach the database and find it migrated.

        Raises:
            Unavailable: It cannot be reached, or has no tables.
        """
        try:
            await self.read(lambda tx: tx.execute(text("SELECT 1 FROM organisations LIMIT 1")))
        except DBAPIError as error:
            raise Unavailable("The database has not been migrated.") from error

    async def changed(self, timeout: float) -> None:
        """Return soon after some process has committed, or after this many seconds.

        The first call answers at once. Meant for one waiter in a process: a second one may learn
        of a commit only at the next.
        """
        await self._watch.wait(timeout)

    async def close(self) -> None:
        """Finish the transactions under way and let go of the connections."""
        self._watch.close()
        for executor in (self._writing, self._reading):
            await asyncio.to_thread(executor.shutdown)
        self._writer.dispose()
        self._reader.dispose()

    async def _transact(
        self, threads: ThreadPoolExecutor, engine: Engine, work: Callable[[Tx], T]
    ) -> T:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _PATIENCE
        pauses = iter(_PAUSES)
        while True:
            try:
                return await loop.run_in_executor(threads, _once, engine, work)
            except _AgainError as error:
                pause = next(pauses, None)
                if pause is None or loop.time() + pause > give_up:
                    raise Unavailable("The database does not answer; try again.") from (
                        error.__cause__
                    )
                await asyncio.sleep(pause)


def _once(engine: Engine, work: Callable[[Tx], T]) -> T:
    committing = False
    try:
        with engine.connect() as tx, tx.begin():
            answer = work(tx)
            committing = True
        return answer
    except DBAPIError as error:
        failure = judge(error)
        if failure is Failure.OURS:
            raise
        if failure is Failure.LOST and committing:
            raise Unavailable("The database was lost while it committed.") from error
        raise _AgainError from error


def insert(tx: Tx, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what to do `on_conflict`, in the words of the database at hand."""
    return sqlite.insert(table) if tx.dialect.name == "sqlite" else postgresql.insert(table)
