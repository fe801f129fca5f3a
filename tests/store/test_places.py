"""The places of an organisation: never more than there are, in order, and none is lost."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from activities.registry import catalog
from engine.lifecycle import RunStatus
from store import executions, places
from store.database import Database, Tx
from store.places import Execution
from store.runs import RunRow
from tests.executions import execution
from tests.store.world import World, begin, overlap, seen

Verb = Callable[[Tx, str, str], RunRow]


def close(tx: Tx, run: RunRow, limit: int, how: RunStatus = RunStatus.COMPLETED) -> list[Execution]:
    return executions.close_execution(tx, run.id, run.n, how, limit)


def held(tx: Tx, accepted: list[RunRow]) -> list[str]:
    return [run.id for run in accepted if seen(tx, run.id).admitted]


async def test_there_are_never_more_runs_than_places(
    database: Database, url: str, world: World
) -> None:
    """Whoever waits begins when it is told to, and by nothing else; so no place is lost either."""
    limit, second = 3, Database(url)
    accepted = [await database.write(world.run) for _ in range(20)]
    told = {run.id: asyncio.Event() for run in accepted}
    running: set[str] = set()
    most: list[int] = []
    attempts: Counter[str] = Counter()

    def tell(handed: list[Execution]) -> None:
        for run_id, *_ in handed:
            told[run_id].set()

    async def execute(run: RunRow, through: Database) -> None:
        while True:
            opening = await through.write(lambda tx: begin(tx, run.id, 1, limit))
            tell(opening.handed)
            if opening.state == "admitted":
                break
            await told[run.id].wait()
        running.add(run.id)
        most.append(len(running))
        most.append(len(await through.read(lambda tx: held(tx, accepted))))
        running.discard(run.id)

        def ending(tx: Tx) -> list[Execution]:
            attempts[run.id] += 1
            return close(tx, run, limit)

        tell(await through.write(ending))

    async with asyncio.timeout(60):
        await asyncio.gather(
            *(execute(run, (database, second)[i % 2]) for i, run in enumerate(reversed(accepted)))
        )
    await second.close()
    assert len(most) == 40
    assert max(most) <= limit
    # Nobody was the victim of a deadlock.
    assert attempts == dict.fromkeys(told, 1)
    assert await database.read(lambda tx: held(tx, accepted)) == []


async def test_the_first_to_come_is_the_first_to_be_given_a_place(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        first, second, third, fourth = (world.run(tx) for _ in range(4))
        assert begin(tx, third.id, limit=3).state == "admitted"
        # It comes last and asks first: those before it get what there is.
        opening = begin(tx, fourth.id, limit=3)
        assert opening.state == "queued"
        assert sorted(opening.handed) == sorted([execution(first.id, 1), execution(second.id, 1)])
        assert begin(tx, fourth.id, limit=3).handed == []
        assert held(tx, [first, second, third, fourth]) == [first.id, second.id, third.id]
        assert close(tx, third, 3) == [execution(fourth.id, 1)]
        for run in (second, fourth, first):
            opening = begin(tx, run.id, limit=3)
            assert (opening.state, opening.handed) == ("admitted", [])

    await database.write(work)


async def test_a_resumed_run_goes_ahead_of_newer_ones(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        old, running, newer = (world.run(tx) for _ in range(3))
        begin(tx, old.id, limit=1)
        assert close(tx, old, 1, RunStatus.PAUSED) == [execution(running.id, 1)]
        begin(tx, running.id, limit=1)
        assert begin(tx, newer.id, limit=1).state == "queued"
        resumed = executions.resume(tx, world.org, old.id, None, catalog())
        assert begin(tx, old.id, 2, limit=1).state == "queued"
        assert close(tx, running, 1, RunStatus.FAILED) == [execution(old.id, 2)]
        assert close(tx, resumed, 1, RunStatus.CANCELLED) == [execution(newer.id, 1)]

    await database.write(work)


async def test_organisations_do_not_share_places(database: Database, world: World) -> None:
    theirs = World(world.other_org, world.other_workflow, world.org, world.workflow)

    def work(tx: Tx) -> None:
        mine, waiting, other = world.run(tx), world.run(tx), theirs.run(tx)
        assert begin(tx, mine.id, limit=1).state == "admitted"
        assert begin(tx, waiting.id, limit=1).state == "queued"
        assert begin(tx, other.id, limit=1).state == "admitted"
        assert close(tx, other, 1) == []
        assert close(tx, mine, 1) == [execution(waiting.id, 1)]

    await database.write(work)


@pytest.mark.parametrize("verb", [executions.cancel, executions.pause])
async def test_a_queued_run_leaves_its_place_to_the_next(
    database: Database, world: World, verb: Verb
) -> None:
    def work(tx: Tx) -> None:
        running, admitted, queued, next_one, last = (world.run(tx) for _ in range(5))
        begin(tx, running.id, limit=1)
        assert close(tx, running, 1) == [execution(admitted.id, 1)]
        # One that holds none has none to leave.
        verb(tx, world.org, queued.id)
        assert executions.admitted(tx, 9) == [execution(admitted.id, 1)]
        verb(tx, world.org, admitted.id)
        assert executions.admitted(tx, 9) == [execution(next_one.id, 1)]
        assert held(tx, [running, admitted, queued, next_one, last]) == [next_one.id]
        assert executions.lost(tx, next_one.id, 1, "Gone.", 1) == [execution(last.id, 1)]
        assert executions.lost(tx, last.id, 1, "Gone.", 1) == []

    await database.write(work)


async def test_a_queued_run_that_ends_without_a_place_frees_none(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        running, queued, last = (world.run(tx) for _ in range(3))
        begin(tx, running.id, limit=1)
        assert close(tx, queued, 1, RunStatus.CANCELLED) == []
        assert seen(tx, queued.id).status is RunStatus.CANCELLED
        assert held(tx, [running, queued, last]) == [running.id]

    await database.write(work)


async def test_places_that_were_added_are_given_to_who_waits(
    database: Database, world: World
) -> None:
    theirs = World(world.other_org, world.other_workflow, world.org, world.workflow)

    def work(tx: Tx) -> None:
        mine = [world.run(tx) for _ in range(4)]
        other = [theirs.run(tx) for _ in range(2)]
        for run in (*mine, *other):
            begin(tx, run.id, limit=1)
        assert places.hand_on_all(tx, 1) == []
        expected = {execution(run.id, 1) for run in (*mine[1:3], other[1])}
        assert set(places.hand_on_all(tx, 3)) == expected
        assert places.hand_on_all(tx, 3) == []
        assert held(tx, mine) == [run.id for run in mine[:3]]

    await database.write(work)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_run_that_is_cancelled_meanwhile_is_passed_over(
    database: Database, url: str, world: World
) -> None:
    """The place goes to the next one, instead of to nobody."""

    def make(tx: Tx) -> list[RunRow]:
        made = [world.run(tx) for _ in range(3)]
        begin(tx, made[0].id, limit=1)
        return made

    running, cancelled, last = await database.write(make)
    second = Database(url)
    _, handed = await overlap(
        database,
        lambda tx: [executions.cancel(tx, world.org, cancelled.id)],
        second,
        lambda tx: close(tx, running, 1),
    )
    await second.close()
    assert handed == [execution(last.id, 1)]
    found = await database.read(lambda tx: [seen(tx, cancelled.id), seen(tx, last.id)])
    assert [(run.status, run.admitted) for run in found] == [("cancelled", False), ("queued", True)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_a_run_that_is_given_its_place_meanwhile_begins_when_it_is_told(
    database: Database, url: str, world: World
) -> None:
    run = await database.write(world.run)
    second = Database(url)
    given, opening = await overlap(
        database,
        lambda tx: executions.hand_on(tx, world.org, 2),
        second,
        lambda tx: begin(tx, run.id, limit=2),
    )
    await second.close()
    assert given == [execution(run.id, 1)]
    assert isinstance(opening, executions.Opening)
    assert opening.state == "queued"
    assert (await database.write(lambda tx: begin(tx, run.id, limit=2))).state == "admitted"
