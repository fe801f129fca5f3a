"""Waits for events: whichever comes first, the two find each other, once."""

import asyncio
import threading
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from sqlalchemy import select

from engine.call import StepCall
from engine.errors import Conflict, StepError
from engine.lifecycle import RunStatus
from engine.matching import Happening, Pin, Wanted
from store import executions, runs, waits, wakes
from store.clock import now
from store.database import Database, Tx
from store.ids import new_id
from store.record_tables import event_waits
from store.runs import RunRow
from tests.store.posted import NAME, publish
from tests.store.world import World, begin


def of(run: RunRow, step: str = "hold", generation: int = 1, *iteration: int) -> StepCall:
    return StepCall(run=run.id, step=step, generation=generation, iteration=[*iteration])


@dataclass
class Search:
    """A step that begins to wait as the client of steps does."""

    call: StepCall
    wanted: Wanted = field(default_factory=lambda: Wanted(NAME))

    def begin(self, tx: Tx) -> None:
        waits.begin(tx, self.call, self.wanted)

    def look_back(self, tx: Tx) -> str | None:
        wait = waits.find(tx, self.call)
        assert wait is not None
        found, cursor = waits.look_back(tx, wait, self.wanted.pin, None)
        while found is None and cursor is not None:
            found, cursor = waits.look_back(tx, wait, self.wanted.pin, cursor)
        if found is not None:
            waits.settle(tx, self.call, found)
        return found

    def came(self, tx: Tx) -> Happening | None:
        return waits.matched(tx, self.call)


def pinned(key: str, text: str) -> Wanted:
    pin = Pin(("event", "data", key), text)
    return Wanted(NAME, f"event.data.{key} == input.x", {"input": {"x": text}}, pin)


async def test_an_event_that_comes_later_ends_the_wait(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    search = Search(of(run))
    await database.write(search.begin)
    assert await database.write(search.look_back) is None
    await database.write(lambda tx: publish(tx, world.other_org))
    await database.write(lambda tx: publish(tx, world.org, name="answered"))
    assert await database.read(search.came) is None
    event = await database.write(lambda tx: publish(tx, world.org, {"n": [1, None]}))
    assert await database.read(search.came) == Happening(f"cbevt_{event}", NAME, {"n": [1, None]})
    # It is over: another event changes nothing.
    await database.write(lambda tx: publish(tx, world.org, {"n": 2}))
    came = await database.read(search.came)
    assert came is not None
    assert came.id == f"cbevt_{event}"


async def test_an_event_that_came_before_is_found(database: Database, world: World) -> None:
    before = await database.write(lambda tx: publish(tx, world.org, {"x": "a"}))
    run = await database.write(world.begun)
    first = await database.write(lambda tx: publish(tx, world.org, {"x": "a", "n": 1}))
    await database.write(lambda tx: publish(tx, world.org, {"x": "b"}))
    await database.write(lambda tx: publish(tx, world.org, {"x": "a", "n": 2}))
    search = Search(of(run), pinned("x", "a"))
    await database.write(search.begin)
    # What was published before the run was started does not count.
    assert await database.write(search.look_back) == first != before
    assert await database.read(lambda tx: wakes.unwoken(tx, now() + 1, 9)) == []


async def test_it_looks_through_all_pages(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PAGE", 3)
    run = await database.write(world.begun)

    def many(tx: Tx) -> str:
        at = now()
        for index in range(7):
            # Ids and not times tell them apart.
            publish(tx, world.org, {"x": index}, created_at=at)
        return publish(tx, world.org, {"x": 7}, created_at=at)

    wanted = await database.write(many)
    search = Search(of(run), Wanted(NAME, "event.data.x == 7"))
    await database.write(search.begin)
    assert await database.write(search.look_back) == wanted


async def test_what_started_the_run_is_not_what_it_waits_for(
    database: Database, world: World
) -> None:
    def started(tx: Tx) -> RunRow:
        event = publish(tx, world.org)
        run = runs.accept(tx, replace(world.new_run(), event_id=event))
        begin(tx, run.id)
        return run

    run = await database.write(started)
    search = Search(of(run))
    await database.write(search.begin)
    assert await database.write(search.look_back) is None


async def test_a_wait_that_begins_while_an_event_is_published_sees_it(
    database: Database, world: World, url: str
) -> None:
    """The event is written and not committed; the wait must not look back before it is."""
    run = await database.write(world.begun)
    search = Search(of(run))
    other = Database(url)
    written, go_on = threading.Event(), threading.Event()

    def held(tx: Tx) -> None:
        publish(tx, world.org)
        written.set()
        assert go_on.wait(30)

    async def wait() -> None:
        await other.write(search.begin)
        await other.write(search.look_back)

    publishing = asyncio.create_task(database.write(held))
    assert await asyncio.to_thread(written.wait, 30)
    waiting = asyncio.create_task(wait())
    await asyncio.wait({waiting}, timeout=0.3)
    go_on.set()
    await asyncio.gather(publishing, waiting)
    await other.close()
    assert await database.read(search.came) is not None


async def test_many_at_once_miss_nothing(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    searches = [Search(of(run, "hold", 1, index), pinned("x", str(index))) for index in range(20)]

    async def wait(search: Search) -> None:
        await database.write(search.begin)
        await database.write(search.look_back)

    events = [partial(publish, org=world.org, data={"x": str(index)}) for index in range(20)]
    await asyncio.gather(*map(wait, searches), *map(database.write, events))
    for index, search in enumerate(searches):
        came = await database.read(search.came)
        assert came is not None
        assert came.data == {"x": str(index)}


async def test_one_event_ends_every_wait_for_it(database: Database, world: World) -> None:
    def work(tx: Tx) -> int:
        for _ in range(3):
            waits.begin(tx, of(world.begun(tx)), pinned("x", "a"))
        waits.begin(tx, of(world.begun(tx)), pinned("x", "b"))
        waits.begin(tx, of(world.begun(tx)), Wanted(NAME, "event.data.n == 1"))
        came = {
            new_id(): Happening("1", NAME, {"x": "c"}),
            new_id(): Happening("2", NAME, {"x": "a", "n": 1}),
            new_id(): Happening("3", NAME, {"x": "a", "n": 1}),
        }
        return waits.match(tx, world.org, came)

    assert await database.write(work) == 4


async def test_repeating_changes_nothing(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    search = Search(of(run))
    await database.write(search.begin)
    await database.write(search.begin)
    event = await database.write(lambda tx: publish(tx, world.org))
    await database.write(search.begin)
    came = await database.read(search.came)
    assert came is not None
    assert came.id == f"cbevt_{event}"


async def test_a_wait_that_is_done_again_needs_another_event(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    first = Search(of(run))
    await database.write(first.begin)
    await database.write(lambda tx: publish(tx, world.org, 1))
    again = Search(of(run, "hold", 2))
    await database.write(again.begin)
    assert await database.write(again.look_back) is None
    assert await database.read(again.came) is None
    with pytest.raises(Conflict):
        await database.write(first.begin)
    await database.write(lambda tx: publish(tx, world.org, 2))
    came = await database.read(again.came)
    assert came is not None
    assert came.data == 2


async def test_who_is_told_is_told_once(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(Search(of(run, "hold", 1, 3, 0)).begin)
    await database.write(lambda tx: publish(tx, world.org))
    asleep = await database.read(lambda tx: wakes.unwoken(tx, now() + 1, 9))
    assert [one.temporal_id for one in asleep] == [run.temporal_id]
    assert (asleep[0].wake.step, asleep[0].wake.iteration) == ("hold", [3, 0])
    await database.write(lambda tx: wakes.woken(tx, asleep))
    assert await database.read(lambda tx: wakes.unwoken(tx, now() + 1, 9)) == []


async def test_a_paused_run_is_not_told_and_misses_nothing(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    search = Search(of(run))
    await database.write(search.begin)
    await database.write(lambda tx: executions.close_execution(tx, run.id, 1, RunStatus.PAUSED, 9))
    await database.write(lambda tx: publish(tx, world.org))
    (asleep,) = await database.read(lambda tx: wakes.unwoken(tx, now() + 1, 9))
    assert asleep.temporal_id is None
    assert await database.read(search.came) is not None


@pytest.mark.parametrize("how", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
async def test_a_run_that_is_over_waits_for_nothing(
    database: Database, world: World, how: RunStatus
) -> None:
    run = await database.write(world.begun)
    await database.write(Search(of(run)).begin)
    await database.write(lambda tx: executions.close_execution(tx, run.id, 1, how, 9))
    assert await database.read(lambda tx: tx.execute(select(event_waits)).all()) == []
    with pytest.raises(Conflict):
        await database.write(Search(of(run)).begin)


async def test_giving_up_comes_too_late_for_an_event_that_came(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    kept, given_up = Search(of(run, "kept")), Search(of(run, "given_up"))
    await database.write(kept.begin)
    event = await database.write(lambda tx: publish(tx, world.org))
    await database.write(given_up.begin)
    came = await database.write(lambda tx: waits.give_up(tx, kept.call))
    assert came is not None
    assert came.id == f"cbevt_{event}"
    for _ in range(2):
        assert await database.write(lambda tx: waits.give_up(tx, given_up.call)) is None
    assert await database.read(lambda tx: waits.find(tx, given_up.call)) is None


async def test_what_is_taken_along_is_bounded(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    large = Wanted(NAME, "true", {"input": "x" * waits.LARGEST})
    with pytest.raises(StepError, match="over 65,536 bytes"):
        await database.write(Search(of(run), large).begin)


async def test_so_many_that_nothing_tells_apart_are_too_many(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "MOST", 3)
    run = await database.write(world.begun)
    for index in range(3):
        await database.write(Search(of(run, "hold", 1, index)).begin)
        await database.write(Search(of(run, "told", 1, index), pinned("x", str(index))).begin)
    with pytest.raises(StepError) as caught:
        await database.write(Search(of(run, "hold", 1, 3)).begin)
    assert caught.value.stable_code == "too_many_waits"
    # Those that are there may be begun again, and one more that is told apart.
    await database.write(Search(of(run, "hold", 1, 0)).begin)
    await database.write(Search(of(run, "told", 1, 3), pinned("x", "3")).begin)


async def test_texts_of_any_kind_find_each_other(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    for index, text in enumerate(
        ["", "é", "💥", "\ud83d", "'\"\\", "100%_/", "\t\x7f", "x" * 10_000]
    ):
        search = Search(of(run, "hold", 1, index), pinned("x", text))
        await database.write(search.begin)
        await database.write(partial(publish, org=world.org, data={"x": text}))
        came = await database.read(search.came)
        assert came is not None, text
        # Whoever looks back finds it as well, among others that are like it.
        late = Search(of(run, "late", 1, index), pinned("x", text))
        await database.write(partial(publish, org=world.org, data={"x": [text], "y": text}))
        await database.write(late.begin)
        assert await database.write(late.look_back) == came.id.removeprefix("cbevt_")


async def test_looking_back_for_what_happened_to_a_record(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    about = {"entity_type": "Vendor", "entity_fields": "{}"}
    for id in ("other", "mine"):
        await database.write(
            partial(publish, org=world.org, data={"id": "mine"}, entity_id=id, **about)
        )
    wanted = Wanted(NAME, "entity.id == 'mine'", {}, Pin(("entity", "id"), "mine"))
    search = Search(of(run), wanted)
    await database.write(search.begin)
    await database.write(search.look_back)
    came = await database.read(search.came)
    assert came is not None
    assert came.entity == {"id": "mine", "type": "Vendor", "fields": {}}
