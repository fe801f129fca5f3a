"""Starts at one time: each becomes one run or is given up, and says which."""

import pytest

from engine.errors import Conflict, NotFound
from engine.lifecycle import DefinitionStatus
from store import authoring, one_offs, runs, schedules
from store.clock import DAY, SECOND, now
from store.database import Database, Tx
from store.ids import new_id
from store.one_offs import OneOff
from store.schedules import ScheduleRow
from tests.store.test_schedules import become
from tests.store.test_starts import due, opened
from tests.store.world import World, overlap, seen


def planned(tx: Tx, world: World, late: int = 0) -> OneOff:
    """A start tomorrow, or so many seconds ago."""
    at = now() - late * SECOND if late else now() + DAY
    return one_offs.create(tx, world.org, world.workflow.id, at - at % SECOND, {"a": [1, None]})


def row_of(tx: Tx, row: OneOff) -> ScheduleRow:
    found = schedules.by_id(tx, row.id)
    assert found is not None
    return found


async def test_it_becomes_one_run(database: Database, world: World) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    assert (row.fired_at, row.canceled_at, row.cancel_reason) == (None, None, None)
    start, another = due(row.id), due(row.id)
    for _ in range(2):
        assert (await database.write(lambda tx: opened(tx, start))).state == "open"
    assert (await database.write(lambda tx: opened(tx, another))).state == "over"
    run = await database.read(lambda tx: seen(tx, start.run))
    assert (run.surface, run.trigger, run.input) == ("run_by_name", "schedule", {"a": [1, None]})
    assert (run.schedule_id, run.scheduled_at) == (row.id, row.run_at)
    assert run.temporal_id == start.temporal_id
    assert await database.read(lambda tx: runs.by_id(tx, another.run)) is None
    fired = await database.read(lambda tx: one_offs.get(tx, world.org, row.id))
    assert fired.fired_at is not None
    with pytest.raises(Conflict, match="fired"):
        await database.write(lambda tx: one_offs.cancel(tx, world.org, row.id))


async def test_two_that_come_together_become_one(database: Database, world: World) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    starts = due(row.id), due(row.id)
    states = await overlap(
        database,
        lambda tx: opened(tx, starts[0]).state,
        database,
        lambda tx: opened(tx, starts[1]).state,
    )
    assert sorted(map(str, states)) == ["open", "over"]


@pytest.mark.parametrize(
    "status", [s for s in DefinitionStatus if s is not DefinitionStatus.ACTIVE]
)
async def test_it_is_dropped_when_its_workflow_is_not_active(
    database: Database, world: World, status: DefinitionStatus
) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    await database.write(lambda tx: become(tx, world, status))
    # What matters is the status at its time: until then it stays with Temporal.
    assert (await database.read(lambda tx: row_of(tx, row))).enabled
    assert (await database.write(lambda tx: opened(tx, due(row.id)))).state == "over"
    dropped = await database.read(lambda tx: one_offs.get(tx, world.org, row.id))
    archived = status is DefinitionStatus.ARCHIVED
    reason = "workflow_archived" if archived else "workflow_disabled"
    assert (dropped.cancel_reason, dropped.fired_at) == (reason, None)
    await database.write(lambda tx: become(tx, world, DefinitionStatus.ACTIVE))
    assert (await database.write(lambda tx: opened(tx, due(row.id)))).state == "over"


async def test_it_is_given_up_with_its_workflow(database: Database, world: World) -> None:
    row = await database.write(lambda tx: planned(tx, world))

    def delete(tx: Tx) -> None:
        authoring.end(tx, world.org, world.workflow.id, None)
        schedules.delete_of_workflow(tx, world.workflow.id)

    await database.write(delete)
    gone = await database.read(lambda tx: one_offs.get(tx, world.org, row.id))
    assert (gone.cancel_reason, gone.fired_at) == ("workflow_deleted", None)
    assert (await database.write(lambda tx: opened(tx, due(row.id)))).state == "over"


async def test_a_second_cancel_changes_nothing(database: Database, world: World) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    canceled = await database.write(lambda tx: one_offs.cancel(tx, world.org, row.id))
    assert (canceled.cancel_reason, canceled.fired_at) == ("requested", None)
    assert await database.write(lambda tx: one_offs.cancel(tx, world.org, row.id)) == canceled
    assert (await database.write(lambda tx: opened(tx, due(row.id)))).state == "over"


async def test_it_is_seen_by_its_organisation_and_not_among_others(
    database: Database, world: World
) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    for org, schedule_id in ((world.other_org, row.id), (world.org, new_id())):
        with pytest.raises(NotFound) as unknown:
            await database.read(lambda tx, o=org, s=schedule_id: one_offs.get(tx, o, s))
        assert unknown.value.stable_code == "schedule_not_found"
        with pytest.raises(NotFound):
            await database.write(lambda tx, o=org, s=schedule_id: one_offs.cancel(tx, o, s))
    with pytest.raises(NotFound):
        await database.read(lambda tx: schedules.get(tx, world.org, row.id))
    page = await database.read(
        lambda tx: schedules.page(tx, world.org, world.workflow.id, limit=10, offset=0)
    )
    assert page == ([], 0)


async def test_temporal_is_told_when_it_is_over(database: Database, world: World) -> None:
    row = await database.write(lambda tx: planned(tx, world))

    def told(tx: Tx) -> bool:
        return schedules.told(tx, row_of(tx, row))

    assert await database.write(told)
    assert [found.id for found in await database.read(_compared)] == [row.id]
    await database.write(lambda tx: one_offs.cancel(tx, world.org, row.id))
    assert await database.read(lambda tx: schedules.out_of_step(tx, 2**62, 10)) == [row.id]
    assert (await database.read(lambda tx: row_of(tx, row))).over
    assert await database.write(told)
    # It stays, for whoever asks, and nothing compares it with Temporal any more.
    assert (await database.read(lambda tx: row_of(tx, row))).in_step
    assert await database.read(_compared) == []


def _compared(tx: Tx) -> list[ScheduleRow]:
    return schedules.in_step_after(tx, "", 10)


async def test_what_is_overdue(database: Database, world: World) -> None:
    late, later, over, _tomorrow = [
        await database.write(lambda tx, late=late: planned(tx, world, late))
        for late in (30, 60, 90, 0)
    ]
    await database.write(lambda tx: one_offs.cancel(tx, world.org, over.id))
    found = await database.read(lambda tx: one_offs.overdue(tx, now() - 10 * SECOND, 10))
    assert [row.id for row in found] == [later.id, late.id]
    found = await database.read(lambda tx: one_offs.overdue(tx, now() - 45 * SECOND, 10))
    assert [row.id for row in found] == [later.id]


async def test_its_status_at_its_time_counts_not_the_one_before(
    database: Database, world: World
) -> None:
    row = await database.write(lambda tx: planned(tx, world))
    await database.write(lambda tx: become(tx, world, DefinitionStatus.PAUSED))
    await database.write(lambda tx: become(tx, world, DefinitionStatus.ACTIVE))
    assert (await database.write(lambda tx: opened(tx, due(row.id)))).state == "open"
