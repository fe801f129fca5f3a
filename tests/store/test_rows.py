"""The smaller kinds of rows: blobs, workers, leases."""

import asyncio

import pytest
from sqlalchemy import delete, update

from engine.errors import Invalid, NotFound
from store import blobs, leases, workers
from store.clock import DAY, SECOND, now
from store.database import Database
from store.tables import leases as lease_table
from store.tables import runs as run_table
from store.tables import workers as worker_table
from tests.store.world import World


async def test_a_blob_reads_back(database: Database, world: World) -> None:
    run = await database.write(world.run)
    content = bytes(range(256)) * (blobs.MAX // 256)
    blob = await database.write(lambda tx: blobs.put(tx, run.id, content))
    assert await database.read(lambda tx: blobs.get(tx, blob)) == content
    empty = await database.write(lambda tx: blobs.put(tx, run.id, b""))
    assert await database.read(lambda tx: blobs.get(tx, empty)) == b""
    with pytest.raises(Invalid, match="limit"):
        await database.write(lambda tx: blobs.put(tx, run.id, content + b"x"))
    with pytest.raises(NotFound):
        await database.read(lambda tx: blobs.get(tx, "f" * 32))


async def test_a_blob_goes_with_its_run(database: Database, world: World) -> None:
    run = await database.write(world.run)
    blob = await database.write(lambda tx: blobs.put(tx, run.id, b"x"))
    await database.write(lambda tx: tx.execute(delete(run_table).where(run_table.c.id == run.id)))
    with pytest.raises(NotFound):
        await database.read(lambda tx: blobs.get(tx, blob))


async def test_workers_beat(database: Database) -> None:
    start = now()
    await database.write(lambda tx: workers.beat(tx, "one", start))
    await database.write(lambda tx: workers.beat(tx, "two", start))
    await database.write(
        lambda tx: tx.execute(
            update(worker_table).where(worker_table.c.id == "one").values(seen_at=start - SECOND)
        )
    )
    assert await database.read(lambda tx: workers.seen_since(tx, start)) == 1
    assert await database.read(lambda tx: workers.seen_since(tx, start - SECOND)) == 2
    assert await database.read(lambda tx: workers.seen_since(tx, now() + SECOND)) == 0
    assert not await database.read(lambda tx: workers.alive(tx, "one", start))
    assert await database.read(lambda tx: workers.alive(tx, "one", start - SECOND))
    assert not await database.read(lambda tx: workers.alive(tx, "none", 0))
    await database.write(lambda tx: workers.beat(tx, "one", start))
    assert await database.read(lambda tx: workers.alive(tx, "one", start))


async def test_silent_workers_are_forgotten(database: Database) -> None:
    await database.write(lambda tx: workers.beat(tx, "one", now()))
    await database.write(lambda tx: tx.execute(update(worker_table).values(seen_at=now() - DAY)))
    assert await database.read(lambda tx: workers.seen_since(tx, 0)) == 1
    await database.write(lambda tx: workers.beat(tx, "two", now()))
    assert await database.read(lambda tx: workers.seen_since(tx, 0)) == 1


async def test_a_lease_has_one_holder(database: Database, url: str) -> None:
    second = Database(url)
    taken = await asyncio.gather(
        *(
            (database if number % 2 else second).write(
                lambda tx, number=number: leases.take(tx, "sweep", f"p{number}", 60)
            )
            for number in range(20)
        )
    )
    assert taken.count(True) == 1
    holder = f"p{taken.index(True)}"
    assert await database.write(lambda tx: leases.take(tx, "sweep", holder, 60))
    assert not await database.write(lambda tx: leases.take(tx, "sweep", "new", 60))
    assert await database.write(lambda tx: leases.take(tx, "other", "new", 60))
    await second.close()


async def test_a_lease_ends(database: Database) -> None:
    assert await database.write(lambda tx: leases.take(tx, "sweep", "one", 60))
    await database.write(lambda tx: leases.release(tx, "sweep", "two"))
    assert not await database.write(lambda tx: leases.take(tx, "sweep", "two", 60))
    await database.write(lambda tx: tx.execute(update(lease_table).values(until=now())))
    assert await database.write(lambda tx: leases.take(tx, "sweep", "two", 60))
    assert not await database.write(lambda tx: leases.take(tx, "sweep", "one", 60))
    await database.write(lambda tx: leases.release(tx, "sweep", "two"))
    assert await database.write(lambda tx: leases.take(tx, "sweep", "one", 60))
