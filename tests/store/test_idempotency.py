"""Keys that let a request happen once."""

import asyncio

import pytest
from sqlalchemy import update

from store import idempotency, runs
from store.clock import HOUR, now
from store.database import Database, Tx
from store.idempotency import Remembered
from store.runs import RunRow, Wanted
from store.tables import idempotency as rows
from tests.store.world import World

ENDPOINT = "POST /v1/workflows/onboard/runs"


def age(tx: Tx, hours: float) -> None:
    tx.execute(update(rows).values(created_at=now() - int(hours * HOUR)))


async def test_fifty_at_once_start_one_run(database: Database, url: str, world: World) -> None:
    second = Database(url)

    def start(tx: Tx) -> RunRow | Remembered:
        earlier = idempotency.reserve(tx, world.org, ENDPOINT, "key", "print")
        if earlier is not None:
            return earlier
        run = world.run(tx)
        idempotency.remember(tx, world.org, ENDPOINT, "key", run_id=run.id)
        return run

    answers = await asyncio.gather(
        *((database if number % 2 else second).write(start) for number in range(50))
    )
    (winner,) = [answer for answer in answers if isinstance(answer, RunRow)]
    assert {answer.run_id for answer in answers if isinstance(answer, Remembered)} == {winner.id}
    _, total = await database.read(lambda tx: runs.page(tx, world.org, Wanted(), limit=1, offset=0))
    assert total == 1
    await second.close()


async def test_an_undone_reservation_is_free_again(database: Database, world: World) -> None:
    def reserve_and_fail(tx: Tx) -> None:
        assert idempotency.reserve(tx, world.org, ENDPOINT, "key", "print") is None
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            await database.write(reserve_and_fail)


async def test_what_is_remembered_grows(database: Database, world: World) -> None:
    run = await database.write(world.run)

    def reserve(tx: Tx) -> Remembered | None:
        return idempotency.reserve(tx, world.org, ENDPOINT, "key", "other print")

    assert (
        await database.write(
            lambda tx: idempotency.reserve(tx, world.org, ENDPOINT, "key", "print")
        )
        is None
    )
    found = await database.write(reserve)
    assert found is not None
    assert (found.fingerprint, found.run_id, found.status_code, found.body) == (
        "print",
        None,
        None,
        None,
    )
    await database.write(
        lambda tx: idempotency.remember(tx, world.org, ENDPOINT, "key", run_id=run.id)
    )
    await database.write(
        lambda tx: idempotency.remember(
            tx, world.org, ENDPOINT, "key", status_code=201, body=b'{"\xff":1}'
        )
    )
    found = await database.write(reserve)
    assert found is not None
    assert (found.run_id, found.status_code, found.body) == (run.id, 201, b'{"\xff":1}')


async def test_scopes_do_not_meet(database: Database, world: World) -> None:
    def reserve(tx: Tx) -> list[bool]:
        return [
            idempotency.reserve(tx, org, endpoint, key, "print") is None
            for org, endpoint, key in [
                (world.org, ENDPOINT, "key"),
                (world.other_org, ENDPOINT, "key"),
                (world.org, "POST /v1/workflows/other/runs", "key"),
                (world.org, ENDPOINT, "KEY"),
                (world.org, ENDPOINT, "key"),
            ]
        ]

    assert await database.write(reserve) == [True, True, True, True, False]


async def test_a_key_is_free_again_after_a_day(database: Database, world: World) -> None:
    run = await database.write(world.run)

    def reserve(tx: Tx) -> Remembered | None:
        return idempotency.reserve(tx, world.org, ENDPOINT, "key", "new print")

    await database.write(
        lambda tx: idempotency.reserve(tx, world.org, ENDPOINT, "key", "old print")
    )
    await database.write(
        lambda tx: idempotency.remember(
            tx, world.org, ENDPOINT, "key", run_id=run.id, status_code=201, body=b"old"
        )
    )
    await database.write(lambda tx: age(tx, 23.9))
    assert await database.write(reserve) is not None
    await database.write(lambda tx: age(tx, 24.1))
    # Of the many that come after the day is over, one has it again.
    answers = await asyncio.gather(*(database.write(reserve) for _ in range(10)))
    assert answers.count(None) == 1
    found = next(answer for answer in answers if answer is not None)
    assert (found.fingerprint, found.run_id, found.body) == ("new print", None, None)


async def test_old_keys_are_purged(database: Database, world: World) -> None:
    def reserve(tx: Tx, key: str) -> bool:
        return idempotency.reserve(tx, world.org, ENDPOINT, key, "print") is None

    for number in range(5):
        await database.write(lambda tx, number=number: reserve(tx, f"old {number}"))
    await database.write(lambda tx: age(tx, 30))
    await database.write(lambda tx: reserve(tx, "new"))
    before = now() - idempotency.REMEMBERED
    assert await database.write(lambda tx: idempotency.purge(tx, before, limit=3)) == 3
    assert await database.write(lambda tx: idempotency.purge(tx, before, limit=3)) == 2
    assert await database.write(lambda tx: idempotency.purge(tx, before, limit=3)) == 0
    assert not await database.write(lambda tx: reserve(tx, "new"))
