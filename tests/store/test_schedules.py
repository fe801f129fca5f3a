"""Schedules as rows: changes raise the revision, and what is out of step is found."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from engine.errors import NotFound
from engine.lifecycle import DefinitionStatus
from engine.schedule import Overlap
from store import runs, schedules
from store.database import Database, Tx
from store.ids import new_id
from store.schedules import ScheduleRow, Terms
from store.tables import workflows
from tests.store.world import World

TERMS = Terms("0 9 * * 1-5", "Europe/Berlin", {"a": [1, None]}, Overlap.SKIP, 60, False, "why")
EVER = 2**62


def become(tx: Tx, world: World, status: DefinitionStatus) -> None:
    change = update(workflows).where(workflows.c.id == world.workflow.id)
    tx.execute(change.values(status=status))
    schedules.touch_of_workflow(tx, world.workflow.id)


def seen(tx: Tx, schedule_id: str) -> ScheduleRow:
    row = schedules.by_id(tx, schedule_id)
    assert row is not None
    return row


async def test_it_reads_back_as_it_was_written(database: Database, world: World) -> None:
    row = await database.write(lambda tx: schedules.create(tx, world.org, world.workflow.id, TERMS))
    assert row.terms == TERMS
    assert (row.active, row.enabled, row.in_step) == (True, True, False)
    assert (row.revision, row.synced) == (1, 0)
    assert (row.last_run_at, row.deleted_at) == (None, None)
    assert await database.read(lambda tx: schedules.get(tx, world.org, row.id)) == row
    other = replace(TERMS, timezone="UTC", input={}, overlap=Overlap.ALLOW_ALL, note=None)
    changed = await database.write(lambda tx: schedules.replace(tx, world.org, row.id, other))
    assert changed.terms == other
    assert (changed.revision, changed.created_at) == (2, row.created_at)


async def test_foreign_and_deleted_ones_are_not_there(database: Database, world: World) -> None:
    row = await database.write(lambda tx: schedules.create(tx, world.org, world.workflow.id, TERMS))
    for org, schedule_id in ((world.other_org, row.id), (world.org, new_id()), (world.org, "-")):
        for work in (
            lambda tx, org=org, id=schedule_id: schedules.get(tx, org, id),
            lambda tx, org=org, id=schedule_id: schedules.replace(tx, org, id, TERMS),
            lambda tx, org=org, id=schedule_id: schedules.pause(tx, org, id, paused=True),
            lambda tx, org=org, id=schedule_id: schedules.remove(tx, org, id),
        ):
            with pytest.raises(NotFound):
                await database.write(work)
    for org, workflow_id in (
        (world.other_org, world.workflow.id),
        (world.org, world.other_workflow.id),
    ):
        with pytest.raises(NotFound):
            await database.write(
                lambda tx, org=org, id=workflow_id: schedules.create(tx, org, id, TERMS)
            )
    await database.write(lambda tx: schedules.remove(tx, world.org, row.id))
    with pytest.raises(NotFound):
        await database.read(lambda tx: schedules.get(tx, world.org, row.id))
    page = await database.read(
        lambda tx: schedules.page(tx, world.org, world.workflow.id, limit=10, offset=0)
    )
    assert page == ([], 0)
    assert (await database.read(lambda tx: seen(tx, row.id))).deleted_at is not None


async def test_what_temporal_was_not_told_of_is_found(database: Database, world: World) -> None:
    def make(tx: Tx) -> list[ScheduleRow]:
        return [schedules.create(tx, world.org, world.workflow.id, TERMS) for _ in range(3)]

    def rest(tx: Tx) -> list[str]:
        return schedules.out_of_step(tx, EVER, 10)

    rows = await database.write(make)
    ids = [row.id for row in rows]
    assert await database.read(rest) == ids
    assert await database.read(lambda tx: schedules.out_of_step(tx, rows[0].updated_at, 10)) == []
    for row in rows:
        assert await database.write(lambda tx, row=row: schedules.told(tx, row))
    assert await database.read(rest) == []

    # Whoever tells of an older revision than there is has not told Temporal of the newest.
    changed = await database.write(
        lambda tx: schedules.pause(tx, world.org, ids[0], paused=True, note="n")
    )
    assert not await database.write(lambda tx: schedules.told(tx, rows[0]))
    assert await database.read(rest) == ids[:1]
    assert await database.write(lambda tx: schedules.told(tx, changed))
    assert await database.read(rest) == []

    # A deletion ends with the row.
    await database.write(lambda tx: schedules.remove(tx, world.org, ids[1]))
    assert await database.read(rest) == ids[1:2]
    gone = await database.read(lambda tx: seen(tx, ids[1]))
    assert await database.write(lambda tx: schedules.told(tx, gone))
    assert not await database.write(lambda tx: schedules.told(tx, gone))
    assert await database.read(rest) == []
    assert await database.read(lambda tx: schedules.known(tx, [*ids, "x"])) == {ids[0], ids[2]}


async def test_a_circle_over_what_is_in_step(database: Database, world: World) -> None:
    def make(tx: Tx) -> list[str]:
        made = [schedules.create(tx, world.org, world.workflow.id, TERMS) for _ in range(5)]
        for row in made[:4]:
            assert schedules.told(tx, row)
        schedules.remove(tx, world.org, made[1].id)
        return [row.id for row in made]

    ids = await database.write(make)
    first = await database.read(lambda tx: schedules.in_step_after(tx, "", 2))
    assert [row.id for row in first] == [ids[0], ids[2]]
    then = await database.read(lambda tx: schedules.in_step_after(tx, ids[2], 2))
    assert [row.id for row in then] == [ids[3]]


async def test_a_workflow_concerns_all_its_schedules(database: Database, world: World) -> None:
    def make(tx: Tx) -> tuple[list[ScheduleRow], ScheduleRow]:
        mine = [schedules.create(tx, world.org, world.workflow.id, TERMS) for _ in range(2)]
        other = schedules.create(tx, world.other_org, world.other_workflow.id, TERMS)
        for row in (*mine, other):
            schedules.told(tx, row)
        return mine, other

    mine, other = await database.write(make)
    ids = sorted(row.id for row in mine)
    for status in DefinitionStatus:
        await database.write(lambda tx, status=status: become(tx, world, status))
        for row in mine:
            now = await database.read(lambda tx, row=row: seen(tx, row.id))
            assert now.active is now.enabled is (status is DefinitionStatus.ACTIVE)
        found = await database.read(
            lambda tx: schedules.out_of_step_of_workflow(tx, world.workflow.id)
        )
        assert sorted(found) == ids
    await database.write(lambda tx: schedules.remove(tx, world.org, ids[0]))
    deleted = await database.read(lambda tx: seen(tx, ids[0]))
    await database.write(lambda tx: schedules.delete_of_workflow(tx, world.workflow.id))
    assert await database.read(lambda tx: seen(tx, ids[0])) == deleted
    assert (await database.read(lambda tx: seen(tx, ids[1]))).deleted_at is not None
    assert (await database.read(lambda tx: seen(tx, other.id))).in_step


async def test_the_last_run_is_that_of_the_schedule(database: Database, world: World) -> None:
    def make(tx: Tx) -> tuple[str, int]:
        row, other = (schedules.create(tx, world.org, world.workflow.id, TERMS) for _ in range(2))
        world.run(tx)
        for schedule_id in (row.id, row.id, other.id):
            new = replace(world.new_run(), schedule_id=schedule_id, scheduled_at=1)
            run = runs.accept(tx, new)
            if schedule_id == row.id:
                last = run.created_at
        return row.id, last

    schedule_id, last = await database.write(make)
    assert (await database.read(lambda tx: seen(tx, schedule_id))).last_run_at == last
