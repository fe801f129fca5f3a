"""A PostgreSQL that goes away, for real: the server ends the connections."""

import asyncio
import threading
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import func, make_url, select, text, update

from engine.errors import Unavailable
from store import leases as lease_rows
from store import organisations as organisation_rows
from store.database import Database, Tx
from store.tables import leases, organisations

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


def count(tx: Tx) -> int:
    return tx.execute(select(func.count()).select_from(organisations)).scalar_one()


class Server:
    """The server, seen by its administrator."""

    def __init__(self, postgresql: str, url: str) -> None:
        self._address = postgresql
        self._name = str(make_url(url).database)

    def disconnect(self) -> None:
        self._run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s")

    def refuse(self) -> None:
        self._run(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS false')
        self.disconnect()

    def admit(self) -> None:
        self._run(f'ALTER DATABASE "{self._name}" ALLOW_CONNECTIONS true')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._address, autocommit=True) as connection:
            parameters = [self._name] if "%s" in statement else None
            connection.execute(statement.encode(), parameters)


@pytest.fixture
def server(postgresql: str, url: str) -> Server:
    return Server(postgresql, url)


async def test_a_connection_lost_while_idle_is_not_noticed(
    database: Database, server: Server
) -> None:
    await database.write(lambda tx: organisation_rows.ensure(tx, "acme"))
    server.disconnect()
    assert await database.read(count) == 1
    server.disconnect()
    await database.write(lambda tx: organisation_rows.ensure(tx, "globex"))
    assert await database.read(count) == 2


async def test_a_transaction_lost_in_the_middle_is_run_again(
    database: Database, server: Server
) -> None:
    attempts: list[int] = []

    def work(tx: Tx) -> None:
        attempts.append(1)
        organisation_rows.ensure(tx, "acme")
        if len(attempts) == 1:
            server.disconnect()
        organisation_rows.ensure(tx, "globex")

    await database.write(work)
    assert len(attempts) == 2
    assert await database.read(count) == 2


async def test_a_commit_that_is_lost_is_not_run_again(database: Database, server: Server) -> None:
    """Whether it was carried out is not known, so the caller is told."""
    attempts: list[int] = []

    def work(tx: Tx) -> None:
        attempts.append(1)
        organisation_rows.ensure(tx, "acme")
        server.disconnect()

    with pytest.raises(Unavailable, match="while it committed"):
        await database.write(work)
    assert len(attempts) == 1
    assert await database.read(count) == 0


async def test_a_lost_database_is_unavailable_and_comes_back(
    database: Database, server: Server
) -> None:
    await database.write(lambda tx: organisation_rows.ensure(tx, "acme"))
    server.refuse()
    uses = (database.read(count), database.write(count), database.ping())
    for answer in await asyncio.gather(*uses, return_exceptions=True):
        assert isinstance(answer, Unavailable)
    server.admit()
    await database.ping()
    assert await database.read(count) == 1


async def test_a_deadlock_is_resolved(database: Database) -> None:
    both = threading.Barrier(2)
    attempts: list[str] = []

    def prepare(tx: Tx) -> None:
        for name in ("a", "b"):
            lease_rows.take(tx, name, "bank", 0)
        tx.execute(update(leases).values(until=0))

    def cross(first: str, second: str) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            attempts.append(first)
            for name in (first, second):
                tx.execute(
                    update(leases).where(leases.c.name == name).values(until=leases.c.until + 1)
                )
                if len(attempts) <= 2 and name == first:
                    both.wait(30)

        return work

    await database.write(prepare)
    await asyncio.gather(database.write(cross("a", "b")), database.write(cross("b", "a")))
    assert len(attempts) == 3
    assert await database.read(lambda tx: [*tx.execute(select(leases.c.until)).scalars()]) == [2, 2]


async def test_a_process_that_stands_still_loses_its_locks(database: Database) -> None:
    setting = await database.read(
        lambda tx: tx.scalar(text("SHOW idle_in_transaction_session_timeout"))
    )
    assert setting == "30s"


async def test_the_watch_outlives_its_connection(database: Database, server: Server) -> None:
    await database.changed(30)
    server.disconnect()
    # Answered by the new connection, since the old one may have missed something.
    async with asyncio.timeout(30):
        await database.changed(60)
        await database.changed(60)
