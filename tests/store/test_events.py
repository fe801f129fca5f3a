"""The log of a run: numbered without a gap, whoever writes."""

import asyncio

import pytest

from engine.errors import Conflict, NotFound
from engine.lifecycle import EventType
from store import events, runs
from store.database import Database, Tx
from store.events import NewEvent
from tests.store.world import World, other_process

STARTED = NewEvent(EventType.STEP_STARTED, step_id="a", iteration="3.0", data={"é": [1, None]})


async def test_an_event_reads_back_as_it_was_written(database: Database, world: World) -> None:
    run = await database.write(world.run)
    assert await database.write(lambda tx: events.append(tx, run.id, [STARTED, STARTED])) == 3
    queued, first, second = await database.read(lambda tx: events.after(tx, {run.id: 0}))
    assert (queued.seq, queued.type, queued.step_id) == (1, EventType.RUN_QUEUED, None)
    assert queued.iteration == ""
    assert (first.seq, second.seq) == (2, 3)
    assert (first.type, first.step_id, first.iteration) == (STARTED.type, "a", "3.0")
    assert first.data == {"é": [1, None]}
    assert await database.read(lambda tx: events.last(tx, run.id)) == 3


async def test_concurrent_writers_leave_no_gap(database: Database, url: str, world: World) -> None:
    """A reader that follows sees every number once and in order, whoever writes."""
    run = await database.write(world.run)
    second = Database(url)
    total = 1 + 8 * 15 * 2 + 40

    async def write(through: Database) -> None:
        for _ in range(15):
            await through.write(lambda tx: events.append(tx, run.id, [STARTED, STARTED]))

    async def follow() -> list[int]:
        seen: list[int] = []
        while len(seen) < total:
            mark = {run.id: seen[-1] if seen else 0}
            found = await database.read(lambda tx, mark=mark: events.after(tx, mark, limit=7))
            seen += [event.seq for event in found]
        return seen

    async with asyncio.timeout(90):
        _, *_, seen = await asyncio.gather(
            other_process("append", url, run.id, 40),
            *(write(database if number % 2 else second) for number in range(8)),
            follow(),
        )
    assert seen == list(range(1, total + 1))
    await second.close()


async def test_a_transaction_that_is_undone_takes_no_number(
    database: Database, world: World
) -> None:
    run = await database.write(world.run)

    def work(tx: Tx) -> None:
        events.append(tx, run.id, [STARTED])
        raise Conflict

    with pytest.raises(Conflict):
        await database.write(work)
    assert await database.write(lambda tx: events.append(tx, run.id, [STARTED])) == 2


async def test_one_query_follows_many_runs(database: Database, world: World) -> None:
    several = [await database.write(world.run) for _ in range(4)]
    for run in several:
        await database.write(lambda tx, run=run: events.append(tx, run.id, [STARTED] * 3))
    a, b, c, _ = sorted(run.id for run in several)
    marks = {c: 4, a: 3, b: 1, "f" * 32: 0}
    found = await database.read(lambda tx: events.after(tx, marks))
    assert [(event.run_id, event.seq) for event in found] == [(a, 4), (b, 2), (b, 3), (b, 4)]
    found = await database.read(lambda tx: events.after(tx, marks, limit=2))
    assert [(event.run_id, event.seq) for event in found] == [(a, 4), (b, 2)]
    assert await database.read(lambda tx: events.after(tx, {})) == []


async def test_thousands_of_watched_runs_are_one_query(database: Database, world: World) -> None:
    run = await database.write(world.run)
    marks = {f"{number:032x}": 0 for number in range(5000)} | {run.id: 0}
    (event,) = await database.read(lambda tx: events.after(tx, marks))
    assert event.run_id == run.id


async def test_nothing_to_append(database: Database, world: World) -> None:
    run = await database.write(world.run)
    assert await database.write(lambda tx: events.append(tx, run.id, [])) == 1
    with pytest.raises(NotFound):
        await database.write(lambda tx: events.append(tx, "f" * 32, [STARTED]))
    assert await database.read(lambda tx: events.last(tx, "f" * 32)) == 0


async def test_the_run_counts_its_events(database: Database, world: World) -> None:
    run = await database.write(world.run)
    await database.write(lambda tx: events.append(tx, run.id, [STARTED]))
    assert (await database.read(lambda tx: runs.get(tx, world.org, run.id))).seq == 2
