"""Transactions: whole, seen at one moment, and sound after a cancelled caller."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from engine.errors import Conflict, Unavailable
from store import leases as lease_rows
from store import organisations as organisation_rows
from store.database import Database, Tx
from store.tables import leases, organisations
from tests.store.world import other_process


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


def count(tx: Tx) -> int:
    return tx.execute(select(func.count()).select_from(organisations)).scalar_one()


async def test_what_is_written_is_read(database: Database) -> None:
    org = await database.write(lambda tx: organisation_rows.ensure(tx, "acme"))
    assert await database.read(lambda tx: tx.scalar(select(organisations.c.id))) == org
    assert await database.write(lambda tx: organisation_rows.ensure(tx, "acme")) == org


async def test_an_error_of_the_work_undoes_it_and_passes_through(database: Database) -> None:
    def work(tx: Tx) -> None:
        organisation_rows.ensure(tx, "acme")
        raise Conflict("No.")

    with pytest.raises(Conflict, match="No"):
        await database.write(work)
    assert await database.read(count) == 0


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.read(lambda tx: organisation_rows.ensure(tx, "acme"))
    assert await database.read(count) == 0
    await database.write(lambda tx: organisation_rows.ensure(tx, "acme"))


async def test_a_defect_is_not_taken_for_a_lost_database(database: Database) -> None:
    attempts = []

    def work(tx: Tx) -> None:
        attempts.append(1)
        tx.execute(text("SELECT nothing FROM nowhere"))

    with pytest.raises(DBAPIError):
        await database.write(work)
    assert len(attempts) == 1


async def test_errors_do_not_show_parameters(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        await database.write(
            lambda tx: tx.execute(text("SELECT nothing FROM nowhere WHERE x = :x"), {"x": "s3cret"})
        )
    assert "s3cret" not in str(caught.value)


async def test_a_read_sees_one_moment(database: Database) -> None:
    """Two statements of a read do not see what was committed between them."""
    between, go_on = threading.Event(), threading.Event()

    def twice(tx: Tx) -> tuple[int, int]:
        first = count(tx)
        between.set()
        assert go_on.wait(30)
        return first, count(tx)

    reading = asyncio.create_task(database.read(twice))
    assert await asyncio.to_thread(between.wait, 30)
    await database.write(lambda tx: organisation_rows.ensure(tx, "acme"))
    go_on.set()
    assert await reading == (0, 0)
    assert await database.read(count) == 1


async def test_two_processes_keep_the_sum(database: Database, url: str) -> None:
    def open_accounts(tx: Tx) -> None:
        for name in ("a", "b"):
            lease_rows.take(tx, name, "bank", 0)
        tx.execute(update(leases).values(until=1000))

    def total(tx: Tx) -> int:
        return sum(tx.execute(select(leases.c.until)).scalars())

    await database.write(open_accounts)
    others = asyncio.gather(
        other_process("transfer", url, "3", 150), other_process("transfer", url, "4", 150)
    )
    while not others.done():
        assert await database.read(total) == 2000
        await asyncio.sleep(0.01)
    await others
    assert (
        await database.read(
            lambda tx: tx.scalar(select(leases.c.until).where(leases.c.name == "b"))
        )
        == 1000 + 150 * 7
    )


async def test_a_cancelled_caller_leaves_the_connection_whole(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(tx: Tx) -> None:
        organisation_rows.ensure(tx, "acme")
        begun.set()
        assert go_on.wait(30)

    task = asyncio.create_task(database.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    # The one writer of SQLite serves the next only when the first is through.
    await database.write(lambda tx: organisation_rows.ensure(tx, "globex"))
    async with asyncio.timeout(30):
        while await database.read(count) < 2:
            await asyncio.sleep(0.01)


async def test_many_cancelled_at_once(database: Database) -> None:
    tasks = [
        asyncio.create_task(database.write(lambda tx, i=i: organisation_rows.ensure(tx, f"o{i}")))
        for i in range(40)
    ]
    await asyncio.sleep(0.005)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    finished = {f"o{i}" for i, answer in enumerate(done) if isinstance(answer, str)}
    assert {f"o{i}" for i in range(1, 40, 2)} <= finished
    names = await database.read(lambda tx: set(tx.execute(select(organisations.c.name)).scalars()))
    assert finished <= names
    await database.write(lambda tx: organisation_rows.ensure(tx, "after"))


async def test_close_lets_a_transaction_finish(url: str) -> None:
    database = Database(url)
    begun = threading.Event()

    def work(tx: Tx) -> None:
        organisation_rows.ensure(tx, "acme")
        begun.set()
        time.sleep(0.2)

    task = asyncio.create_task(database.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    await database.close()
    await task
    again = Database(url)
    assert await again.read(count) == 1
    await again.close()


async def test_ping_answers_for_a_migrated_database(database: Database) -> None:
    await database.ping()


async def test_ping_does_not_answer_for_one_without_tables(empty_url: str) -> None:
    empty = Database(empty_url)
    with pytest.raises(Unavailable, match="migrated"):
        await empty.ping()
    await empty.close()


async def test_a_database_that_is_not_there() -> None:
    async def ping(address: str) -> None:
        database = Database(address)
        with pytest.raises(Unavailable) as caught:
            await database.ping()
        assert "s3cret" not in str(caught.value)
        await database.close()

    # At once, because each of them tries for a while.
    await asyncio.gather(
        ping("sqlite:////nowhere/at/all/signalbox.db"),
        ping("postgresql://me:s3cret@/x?host=/nowhere/at/all"),
    )


@pytest.mark.parametrize("address", ["sqlite://", "sqlite:///:memory:", "mysql://me:s3cret@x/y"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="sqlite") as caught:
        Database(address)
    assert "s3cret" not in str(caught.value)


async def test_sqlite_waits_for_another_writer(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}", durable=True)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write(lambda tx: organisation_rows.ensure(tx, "acme")))
    await asyncio.sleep(0.3)
    assert not writing.done()
    # WAL: whoever reads does not wait.
    assert await database.read(count) == 0
    other.execute("COMMIT")
    other.close()
    await writing
    await database.close()


async def test_a_write_that_begins_with_a_read_has_sqlites_lock_by_then(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """Otherwise another writer could come between, and the write would fail for good."""
    path = tmp_path / "copy.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")

    def work(tx: Tx) -> None:
        count(tx)
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()

    await database.write(work)
    await database.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 1)])
async def test_how_sqlite_is_opened(
    sqlite_template: Path, tmp_path: Path, durable: bool, synchronous: int
) -> None:
    path = tmp_path / "copy.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}", durable=durable)

    def pragma(tx: Tx) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await database.write(pragma) == ["wal", synchronous, 1, 30_000]
    await database.close()
