"""Runs that give their places back while they wait: none is lost, and none is held twice."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from engine.book import Place, PlaceCall
from engine.lifecycle import RunStatus
from store import executions, parking, runs
from store.database import Database, Tx
from store.parking import Settled
from store.places import Execution
from store.runs import RunRow, Wanted
from tests import place_log
from tests.executions import execution
from tests.store.world import World, begin, log, seen

#: How a run stands after asking, and who has to be told.
Asked = tuple[str, list[Execution]]
HELD = Place(state="held", parkings=1)
NONE = Place(state="none", parkings=1)


def park(tx: Tx, run: RunRow, limit: int, parkings: int = 0) -> Settled:
    call = PlaceCall(run=run.id, n=run.n, parkings=parkings)
    return parking.give_back(tx, call, limit)


def ask(tx: Tx, run: RunRow, limit: int, parkings: int = 1, *, wanted: bool = True) -> Settled:
    call = PlaceCall(run=run.id, n=run.n, parkings=parkings, wanted=wanted)
    return parking.ask(tx, call, limit)


def end(tx: Tx, run: RunRow, limit: int, how: RunStatus = RunStatus.COMPLETED) -> list[Execution]:
    return executions.close_execution(tx, run.id, run.n, how, limit)


def kinds(tx: Tx, run: RunRow) -> list[str]:
    return [str(event.type) for event in log(tx, run.id)]


async def test_a_run_that_only_waits_leaves_its_place_to_the_next(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        first, second, third = (world.run(tx) for _ in range(3))
        begin(tx, first.id, limit=1)
        assert park(tx, first, 1) == Settled(NONE, [execution(second.id, 1)])
        row = seen(tx, first.id)
        assert (row.status, row.admitted, row.parked) == (RunStatus.RUNNING, False, True)
        # Its answer was lost and it is told again: nothing changes, and the number is told.
        assert park(tx, first, 1) == Settled(Place(state="stale", parkings=1), [])
        assert kinds(tx, first) == ["run_queued", "run_started", "run_parked"]
        assert kinds(tx, second) == ["run_queued", "run_admitted"]
        assert begin(tx, second.id, limit=1).state == "admitted"
        # A run that wants no place stands before nobody.
        assert end(tx, second, 1) == [execution(third.id, 1)]

    await database.write(work)


async def test_it_takes_a_free_place_at_once_and_tells_so(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        run = world.run(tx)
        begin(tx, run.id, limit=1)
        park(tx, run, 1)
        for _ in range(2):
            assert ask(tx, run, 1) == Settled(HELD, [])
        assert kinds(tx, run) == ["run_queued", "run_started", "run_parked", "run_admitted"]
        assert (seen(tx, run.id).admitted, seen(tx, run.id).parked) == (True, False)

    await database.write(work)


async def test_it_comes_back_ahead_of_newer_ones(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        first, second, third = (world.run(tx) for _ in range(3))
        begin(tx, first.id, limit=1)
        park(tx, first, 1)
        begin(tx, second.id, limit=1)
        for _ in range(2):
            assert ask(tx, first, 1) == Settled(NONE, [])
        assert kinds(tx, first)[-2:] == ["run_parked", "run_queued"]
        assert begin(tx, third.id, limit=1).state == "queued"
        assert end(tx, second, 1) == [execution(first.id, 1)]
        assert kinds(tx, first)[-1] == "run_admitted"
        assert begin(tx, third.id, limit=1).state == "queued"
        assert ask(tx, first, 1) == Settled(HELD, [])
        assert end(tx, first, 1) == [execution(third.id, 1)]

    await database.write(work)


async def test_an_older_one_that_waits_comes_before_it(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        old, run, other = (world.run(tx) for _ in range(3))
        begin(tx, old.id, limit=3)
        begin(tx, run.id, limit=3)
        park(tx, old, 1)
        park(tx, run, 1)
        begin(tx, other.id, limit=1)
        assert ask(tx, old, 1) == Settled(NONE, [])
        # There is a second place by now: the older one's.
        assert ask(tx, run, 2) == Settled(NONE, [execution(old.id, 1)])
        assert end(tx, other, 2) == [execution(run.id, 1)]

    await database.write(work)


async def test_a_place_is_told_of_until_it_was_taken_note_of(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        first, second = world.run(tx), world.run(tx)
        begin(tx, first.id, limit=1)
        park(tx, first, 1)
        begin(tx, second.id, limit=1)
        assert ask(tx, first, 1, wanted=False) == Settled(NONE, [])
        assert end(tx, second, 1) == []
        ask(tx, first, 1)
        park(tx, first, 1, parkings=1)
        third = world.run(tx)
        begin(tx, third.id, limit=1)
        ask(tx, first, 1, parkings=2)
        assert end(tx, third, 1) == [execution(first.id, 1)]
        assert executions.admitted(tx, 9) == [execution(first.id, 1)]
        held = Settled(Place(state="held", parkings=2), [])
        assert ask(tx, first, 1, parkings=2, wanted=False) == held
        assert executions.admitted(tx, 9) == []

    await database.write(work)


async def test_what_comes_too_late_changes_nothing(database: Database, world: World) -> None:
    """A worker stood still, and another one has carried the run on meanwhile."""

    def work(tx: Tx) -> None:
        run, newer = world.run(tx), world.run(tx)
        begin(tx, run.id, limit=1)
        park(tx, run, 1)
        ask(tx, run, 2)
        stale = Settled(Place(state="held", parkings=1), [])
        assert park(tx, run, 1, parkings=0) == stale
        assert seen(tx, run.id).admitted
        park(tx, run, 1, parkings=1)
        assert ask(tx, run, 1, parkings=1) == Settled(Place(state="stale", parkings=2), [])
        assert seen(tx, run.id).parked
        assert seen(tx, newer.id).admitted

    await database.write(work)


async def test_a_run_that_is_over_has_no_place_to_ask_for(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        run = world.run(tx)
        over = Settled(Place(state="over"), [])
        assert park(tx, run, 1) == over
        begin(tx, run.id, limit=1)
        end(tx, run, 1, RunStatus.FAILED)
        assert (park(tx, run, 1), ask(tx, run, 1, 0)) == (over, over)
        assert park(tx, world.run(tx), 1) == over

    await database.write(work)


@pytest.mark.parametrize("how", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.PAUSED])
async def test_an_end_frees_what_is_held_and_nothing_else(
    database: Database, world: World, how: RunStatus
) -> None:
    def work(tx: Tx) -> None:
        parked, wanting, given, holding, last = (world.run(tx) for _ in range(5))
        for run in (parked, wanting, given):
            begin(tx, run.id, limit=9)
            park(tx, run, 0)
        begin(tx, holding.id, limit=1)
        ask(tx, given, 1)
        assert end(tx, holding, 1) == [execution(given.id, 1)]
        ask(tx, wanting, 1)
        assert end(tx, parked, 1, how) == []
        assert end(tx, wanting, 1, how) == []
        assert end(tx, given, 1, how) == [execution(last.id, 1)]
        for run in (parked, wanting, given):
            row = seen(tx, run.id)
            assert (row.status, row.admitted, row.parked) == (how, False, False)

    await database.write(work)


async def test_an_execution_that_begins_again_knows_that_it_has_no_place(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        run = world.run(tx)
        begin(tx, run.id, limit=1)
        park(tx, run, 1)
        opening = begin(tx, run.id, limit=1)
        assert opening.facts is not None
        assert (opening.facts.parked, opening.facts.parkings) == (True, 1)

    await database.write(work)


class Line:
    """Runs that take places, give them back and take them again, each when it is told to."""

    def __init__(self, limit: int, accepted: list[RunRow]) -> None:
        self.limit = limit
        self.told = {run.id: asyncio.Event() for run in accepted}
        self.attempts: Counter[str] = Counter()

    def tell(self, handed: list[Execution]) -> None:
        for run_id, *_ in handed:
            self.told[run_id].set()

    async def until_held(self, run: RunRow, asking: Callable[[], Awaitable[Asked]]) -> None:
        while True:
            state, handed = await asking()
            self.tell(handed)
            if state in ("admitted", "held"):
                return
            await self.told[run.id].wait()
            self.told[run.id].clear()

    async def execute(self, run: RunRow, through: Database, naps: list[float]) -> None:
        async def opening() -> Asked:
            found = await through.write(partial(begin, run_id=run.id, n=1, limit=self.limit))
            return found.state, found.handed

        async def asking() -> Asked:
            settled = await through.write(partial(ask, run=run, limit=self.limit, parkings=number))
            return settled.place.state, settled.handed

        await self.until_held(run, opening)
        for number, nap in enumerate(naps, start=1):
            leaving = partial(park, run=run, limit=self.limit, parkings=number - 1)
            self.tell((await through.write(leaving)).handed)
            await asyncio.sleep(nap)
            await self.until_held(run, asking)

        def ending(tx: Tx) -> list[Execution]:
            self.attempts[run.id] += 1
            return end(tx, run, self.limit)

        self.tell(await through.write(ending))


async def test_places_that_come_and_go_are_never_too_many(
    database: Database, url: str, world: World
) -> None:
    """Many runs that park and come back, over two connections; judged by the log alone."""
    second, dice = Database(url), random.Random(5)
    accepted = [await database.write(world.run) for _ in range(16)]
    line = Line(3, accepted)
    naps = [[dice.uniform(0, 0.05) for _ in range(dice.randrange(4))] for _ in accepted]
    async with asyncio.timeout(90):
        await asyncio.gather(
            *(
                line.execute(run, (database, second)[i % 2], naps[i])
                for i, run in enumerate(accepted)
            )
        )
    await second.close()

    def look(tx: Tx) -> place_log.Found:
        rows, _ = runs.page(tx, world.org, Wanted(), limit=200, offset=0)
        return place_log.read(rows, {row.id: log(tx, row.id) for row in rows}, line.limit)

    found = await database.read(look)
    assert (found.most, found.held, found.passed_over) == (line.limit, set(), [])
    assert found.returned == sum(map(len, naps)) > 10
    # Nobody was the victim of a deadlock.
    assert line.attempts == dict.fromkeys(line.told, 1)
