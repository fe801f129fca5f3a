"""A start by a schedule becomes one run, or none, as schedule, workflow and other runs have it."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from activities.registry import catalog
from engine.book import Due
from engine.lifecycle import DefinitionStatus, Intent, RunStatus
from engine.schedule import Overlap
from store import executions, runs, schedules, starts
from store.clock import now
from store.database import Database, Tx
from store.ids import new_id
from store.runs import RunRow
from store.starts import Opening
from store.tables import workflows
from tests.executions import execution
from tests.store.test_schedules import TERMS, become
from tests.store.world import PLACES, World, begin, log, seen


def schedule(tx: Tx, world: World, overlap: Overlap = Overlap.SKIP) -> str:
    terms = replace(TERMS, overlap=overlap)
    return schedules.create(tx, world.org, world.workflow.id, terms).id


def due(schedule_id: str, late: int = 0) -> Due:
    """A start that was made so many seconds after its time."""
    run_id, at = new_id(), now()
    name = f"sched/{schedule_id}/run-2027-01-01T09:00:00Z"
    return Due(
        run=run_id,
        schedule=schedule_id,
        temporal_id=name,
        at=at - late * 1_000_000,
        began=at,
    )


def opened(tx: Tx, start: Due, places: int = PLACES) -> Opening:
    return starts.open_start(tx, start, places)


def resumed(tx: Tx, world: World, schedule_id: str) -> RunRow:
    """A run of the schedule that is carried out by its second execution."""
    first = due(schedule_id)
    assert opened(tx, first).state == "open"
    assert begin(tx, first.run).state == "admitted"
    executions.close_execution(tx, first.run, 1, RunStatus.FAILED, PLACES)
    executions.resume(tx, world.org, first.run, None, catalog())
    assert begin(tx, first.run, 2).state == "admitted"
    return seen(tx, first.run)


async def test_it_becomes_a_run_once(database: Database, world: World) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world))
    start = due(schedule_id)
    for _ in range(2):
        assert await database.write(lambda tx: opened(tx, start)) == Opening("open")
    row = await database.read(lambda tx: seen(tx, start.run))
    assert (row.trigger, row.surface, row.status) == ("schedule", "full_engine", RunStatus.QUEUED)
    assert (row.schedule_id, row.scheduled_at) == (schedule_id, start.at)
    assert (row.workflow_id, row.version, row.input) == (world.workflow.id, 1, TERMS.input)
    # It is known to Temporal already, under the name that Temporal gave it.
    assert row.temporal_id == start.temporal_id
    assert len(row.temporal_id) <= 64
    assert row.dispatched_at is not None
    assert await database.read(lambda tx: runs.undispatched(tx, 2**62, 10)) == []
    assert [event.type for event in await database.read(lambda tx: log(tx, start.run))] == [
        "run_queued"
    ]
    # A backfill that is repeated has the same times, and runs of its own.
    again = due(schedule_id).model_copy(update={"at": start.at})
    await database.write(lambda tx: executions.cancel(tx, world.org, start.run))
    assert (await database.write(lambda tx: opened(tx, again))).state == "open"
    assert (await database.read(lambda tx: seen(tx, again.run))).scheduled_at == start.at


@pytest.mark.parametrize(
    "status", [s for s in DefinitionStatus if s is not DefinitionStatus.ACTIVE]
)
async def test_there_is_none_while_the_workflow_is_not_active(
    database: Database, world: World, status: DefinitionStatus
) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world))
    begun = due(schedule_id)
    await database.write(lambda tx: opened(tx, begun))
    await database.write(lambda tx: become(tx, world, status))
    start = due(schedule_id)
    assert (await database.write(lambda tx: opened(tx, start))).state == "over"
    assert await database.read(lambda tx: runs.by_id(tx, start.run)) is None
    # What had become a run before goes on, also when its first call is repeated.
    assert (await database.write(lambda tx: opened(tx, begun))).state == "open"


async def test_there_is_none_of_a_schedule_that_is_gone(database: Database, world: World) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world))
    other = await database.write(lambda tx: schedule(tx, world))
    await database.write(lambda tx: schedules.remove(tx, world.org, schedule_id))
    change = update(workflows).where(workflows.c.id == world.workflow.id).values(deleted_at=1)
    assert (await database.write(lambda tx: opened(tx, due(schedule_id)))).state == "over"
    assert (await database.write(lambda tx: opened(tx, due(new_id())))).state == "over"
    assert (await database.write(lambda tx: opened(tx, due(other)))).state == "open"
    await database.write(lambda tx: tx.execute(change) and None)
    assert (await database.write(lambda tx: opened(tx, due(other)))).state == "over"


@pytest.mark.parametrize(
    ("overlap", "state"),
    [
        (Overlap.SKIP, "over"),
        (Overlap.BUFFER_ONE, "wait"),
        (Overlap.BUFFER_ALL, "wait"),
        (Overlap.CANCEL_OTHER, "wait"),
        (Overlap.TERMINATE_OTHER, "wait"),
        (Overlap.ALLOW_ALL, "open"),
    ],
)
async def test_a_resumed_run_is_in_the_way(
    database: Database, world: World, overlap: Overlap, state: str
) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world, overlap))
    other = await database.write(lambda tx: resumed(tx, world, schedule_id))
    start = due(schedule_id)
    assert (await database.write(lambda tx: opened(tx, start))).state == state
    there = await database.read(lambda tx: runs.by_id(tx, start.run))
    assert (there is not None) is (state == "open")
    asked = (await database.read(lambda tx: seen(tx, other.id))).intent
    ends_others = overlap in (Overlap.CANCEL_OTHER, Overlap.TERMINATE_OTHER)
    assert asked is (Intent.CANCEL if ends_others else None)
    # A backfill has asked for a policy of its own, and Temporal has applied it.
    late = due(schedule_id, late=TERMS.catchup_window + 30)
    assert (await database.write(lambda tx: opened(tx, late))).state == "open"
    await database.write(
        lambda tx: executions.close_execution(tx, other.id, 2, RunStatus.COMPLETED, PLACES)
    )
    if state == "wait":
        await database.write(
            lambda tx: executions.close_execution(tx, late.run, 1, RunStatus.COMPLETED, PLACES)
        )
        assert (await database.write(lambda tx: opened(tx, start))).state == "open"


async def test_a_queued_one_is_cancelled_at_once(database: Database, world: World) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world, Overlap.CANCEL_OTHER))

    def queued(tx: Tx) -> str:
        run = resumed(tx, world, schedule_id)
        executions.close_execution(tx, run.id, 2, RunStatus.FAILED, PLACES)
        return executions.resume(tx, world.org, run.id, None, catalog()).id

    other = await database.write(queued)
    assert (await database.write(lambda tx: opened(tx, due(schedule_id)))).state == "open"
    assert (await database.read(lambda tx: seen(tx, other))).status is RunStatus.CANCELLED


async def test_what_temporal_has_terminated_is_closed_and_its_place_handed_on(
    database: Database, world: World
) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world, Overlap.TERMINATE_OTHER))
    ended = due(schedule_id)

    def crowd(tx: Tx) -> str:
        opened(tx, ended)
        begin(tx, ended.run, limit=1)
        waiting = world.run(tx)
        assert begin(tx, waiting.id, limit=1).state == "queued"
        return waiting.id

    waiting = await database.write(crowd)
    start = due(schedule_id)
    opening = await database.write(lambda tx: opened(tx, start, places=1))
    assert opening == Opening("open", [execution(waiting, 1)])
    row = await database.read(lambda tx: seen(tx, ended.run))
    assert (row.status, row.admitted) == (RunStatus.CANCELLED, False)
    assert await database.read(lambda tx: starts.open_runs(tx, schedule_id)) == [(start.run, 1)]


@pytest.mark.parametrize("overlap", [o for o in Overlap if o is not Overlap.TERMINATE_OTHER])
async def test_runs_that_temporal_knows_are_left_to_it(
    database: Database, world: World, overlap: Overlap
) -> None:
    schedule_id = await database.write(lambda tx: schedule(tx, world, overlap))
    first, second = due(schedule_id), due(schedule_id)
    await database.write(lambda tx: opened(tx, first))
    assert (await database.write(lambda tx: opened(tx, second))).state == "open"
    assert (await database.read(lambda tx: seen(tx, first.run))).status is RunStatus.QUEUED
