"""The audit log: written once, read newest first page by page, thrown away by age."""

from dataclasses import replace

from store import audit
from store.audit import Call
from store.clock import SECOND, now
from store.database import Database
from store.ids import new_id
from tests.store.world import World


def call(org: str, at: int, key_id: str = "k", status: int | None = 200) -> Call:
    return Call(
        id=new_id(),
        org_id=org,
        at=at,
        key_id=key_id,
        key_name="ci",
        method="GET",
        route="/api/workflows/{workflow_id}",
        path="/api/workflows/x%00",
        parameters=("limit", "ü\0"),
        status=status,
        duration_ms=3,
        client_ip="127.0.0.1",
        correlation_id="c",
    )


async def test_a_call_is_read_as_it_was_written(database: Database, world: World) -> None:
    made = [call(world.org, 1), replace(call(world.org, 2), status=None, client_ip=None)]
    for _ in range(2):
        # Also when it is not known whether the first time was committed.
        await database.write(lambda tx: audit.add(tx, made))
    await database.write(lambda tx: audit.add(tx, []))
    found = await database.read(lambda tx: audit.page(tx, world.org, limit=10))
    assert found == made[::-1]


async def test_pages_and_filters(database: Database, world: World) -> None:
    made = [
        call(world.org, 10),
        call(world.org, 20, status=404),
        # Two of one moment are in the order in which they were made.
        call(world.org, 20, key_id="other"),
        call(world.org, 30, status=None),
    ]
    foreign = call(world.other_org, 15)
    await database.write(lambda tx: audit.add(tx, [*made, foreign]))

    async def numbers(**filters: object) -> list[int]:
        found = await database.read(
            lambda tx: audit.page(tx, world.org, **{"limit": 10, **filters})  # type: ignore[arg-type]
        )
        return [made.index(one) for one in found]

    assert await numbers() == [3, 2, 1, 0]
    assert await numbers(limit=2) == [3, 2]
    assert await numbers(limit=2, before=made[2].id) == [1, 0]
    assert await numbers(before=made[0].id) == []
    assert await numbers(before=new_id()) == []
    assert await numbers(before=foreign.id) == []
    assert await numbers(key_id="k") == [3, 1, 0]
    assert await numbers(status=404) == [1]
    assert await numbers(since=20) == [3, 2, 1]
    assert await numbers(until=20) == [0]
    assert await numbers(since=20, until=30, key_id="other", status=200) == [2]


async def test_old_calls_are_purged_oldest_first(database: Database, world: World) -> None:
    at = now()
    made = [call(world.org, at - age * SECOND) for age in range(5)]
    await database.write(lambda tx: audit.add(tx, made))
    before = at - SECOND
    assert await database.write(lambda tx: audit.purge(tx, before, limit=2)) == 2
    found = await database.read(lambda tx: audit.page(tx, world.org, limit=10))
    assert found == made[:3]
    assert await database.write(lambda tx: audit.purge(tx, before, limit=2)) == 1
    assert await database.write(lambda tx: audit.purge(tx, before, limit=2)) == 0
    assert await database.read(lambda tx: audit.page(tx, world.org, limit=10)) == made[:2]
