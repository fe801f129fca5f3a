"""Batches and their lanes, on both databases."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import delete, select

from activities.registry import catalog
from engine.batch import LaneStatus, Note
from engine.errors import Conflict, Invalid
from engine.facts import Facts, Failure, StepFact
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import EntityChange
from store import (
    batches,
    endings,
    entities,
    entity_types,
    events,
    executed,
    executions,
    lanes,
    runs,
    terminations,
)
from store.batches import BatchRow, NewBatch, StepTally
from store.database import Database, Tx
from store.entities import new_entity
from store.entity_types import TypeRow
from store.lanes import LaneRow, Move
from store.publishing import Verdicts, publishing
from store.record_tables import entities as entities_table
from store.record_tables import entity_types as entity_types_table
from store.record_tables import published_events
from store.runs import NewRun, RunRow
from store.values import decode_object
from tests.store.world import PLACES, World

L = LaneStatus


def vendors(tx: Tx, org: str, count: int) -> tuple[TypeRow, list[str]]:
    kind = entity_types.get(tx, org, "Vendor")
    new = [new_entity({"name": f"Vendor {n}"}) for n in range(count)]
    entities.add(tx, kind, new, Verdicts())
    return kind, [one.id for one in new]


def begun(tx: Tx, world: World, count: int, **more: Any) -> RunRow:
    """A batch over so many vendors, which has begun."""
    kind, ids = vendors(tx, world.org, count)
    run = NewRun(world.org, world.workflow.id, "b", 1, "entity_batches", "api", {})
    row = batches.accept(tx, run, NewBatch(kind.id, ids, concurrency=5, **more))
    opened = executions.open_execution(tx, row.id, 1, PLACES, catalog())
    assert opened.state == "admitted"
    batches.begin(tx, row.id)
    return runs.get(tx, world.org, row.id)


def ended(row: LaneRow, status: LaneStatus, **more: Any) -> Move:
    how = StepStatus.FAILED if status is L.FAILED else StepStatus.COMPLETED
    return Move(replace(row, status=status, completed_at=1), ended={"a": how}, **more)


async def commit(
    database: Database, run: RunRow, *moves: Move, n: int = 1
) -> tuple[BatchRow, list[RunRow]]:
    return await publishing(
        database,
        lambda tx, verdicts: lanes.commit(tx, run.org_id, run.id, n, moves, verdicts, 1),
    )


async def test_a_batch_has_a_lane_for_each_entity(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 1_003))
    assert run.lanes == 1_003
    rows, total = await database.read(lambda tx: lanes.page(tx, run.id, limit=5, offset=998))
    assert (total, [row.lane for row in rows]) == (1_003, [998, 999, 1_000, 1_001, 1_002])
    assert {row.status for row in rows} == {L.PENDING}
    batch = await database.read(lambda tx: batches.get(tx, run.id))
    assert batch is not None
    assert (batch.total, batch.completed, batch.failed, batch.open) == (1_003, 0, 0, 1_003)


async def test_what_is_unknown_is_named_and_nothing_is_made(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        kind, ids = vendors(tx, world.org, 700)
        _, foreign = vendors(tx, world.other_org, 1)
        gone = ids[650]
        entities.archive(tx, world.org, gone, Verdicts(), "e" * 32)
        run = NewRun(world.org, world.workflow.id, "b", 1, "entity_batches", "api", {})
        wanted = [*ids[:3], "no such id", *ids[3:], *foreign]
        with pytest.raises(Invalid) as refused:
            batches.accept(tx, run, NewBatch(kind.id, wanted, concurrency=1))
        assert [problem.path for problem in refused.value.problems] == [
            "entityIds.3",
            "entityIds.651",
            "entityIds.701",
        ]
        for named in ("no such id", gone, *foreign):
            assert named in refused.value.message
        # As the request has them; a NUL is nothing that PostgreSQL takes as text.
        with pytest.raises(Invalid) as refused:
            batches.require(tx, world.org, kind.id, ["\0", ids[0], "é"], {"\0": 4, "é": 9})
        assert [problem.path for problem in refused.value.problems] == [
            "entityIds.4",
            "entityIds.9",
        ]
        service = entity_types.get(tx, world.org, "Service")
        with pytest.raises(Invalid, match=r"700 of the entities are unknown .* and 600 more"):
            batches.require(tx, world.org, service.id, ids)
        assert runs.page(tx, world.org, runs.Wanted(), limit=1, offset=0)[1] == 0

    await database.write(work)


async def test_a_lane_is_over_once(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 3))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    await commit(database, run, ended(rows[0], L.COMPLETED), ended(rows[1], L.FAILED))
    # Another worker has carried out the same window.
    batch, _ = await commit(
        database,
        run,
        ended(rows[0], L.FAILED),
        ended(rows[1], L.COMPLETED),
        ended(rows[2], L.FAILED),
    )
    assert (batch.completed, batch.failed, batch.open) == (1, 2, 0)
    assert batch.steps == {"a": StepTally(1, 2, 0)}
    found, _ = await database.read(lambda tx: lanes.page(tx, run.id, limit=5, offset=0))
    assert [row.status for row in found] == [L.COMPLETED, L.FAILED, L.FAILED]
    assert await database.read(lambda tx: lanes.window(tx, run.id, 0, 20)) == []
    assert await database.read(lambda tx: lanes.failed(tx, run.id)) == [
        row.entity_id for row in found[1:]
    ]


async def test_a_step_is_listed_as_executed_once_for_all_lanes(
    database: Database, world: World
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 3))
    plain = await database.write(world.run)
    assert await database.read(lambda tx: executed.steps_of(tx, run)) == []
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    one, two, three = (ended(row, L.FAILED) for row in rows)
    left_out = {"b": StepStatus.SKIPPED}
    await commit(database, run, one, replace(two, ended={**(two.ended or {}), **left_out}))
    (going,) = await database.read(lambda tx: executed.steps_of(tx, run))
    assert (going.step_id, going.iteration, going.status) == ("a", "", StepStatus.RUNNING)
    await commit(database, run, three)

    def close(tx: Tx) -> None:
        batches.close(tx, run.id, 1, "over", PLACES, None)

    await database.write(close)
    row = await database.read(lambda tx: runs.get(tx, world.org, run.id))
    (over,) = await database.read(lambda tx: executed.steps_of(tx, row))
    assert over.status is StepStatus.FAILED
    assert over.error == {"message": "3 of 3 entities have failed here."}
    counted = await database.read(lambda tx: executed.counts(tx, [run.id, plain.id]))
    assert counted == {run.id: 1, plain.id: 0}


async def test_a_lane_between_two_steps_is_found_as_it_was(
    database: Database, world: World
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 1))
    (row,) = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    moved = replace(
        row,
        status=L.RUNNING,
        facts=Facts(steps={"a": StepFact(status=StepStatus.COMPLETED)}),
        outputs={"a": {"é": [1, None]}},
        step_id="a",
        attempts=2,
        started_at=7,
    )
    change = EntityChange(fields={"name": "New", "extra": None}, published=True)
    await commit(database, run, Move(moved, EntityChange(fields={"name": 1})))
    await commit(database, run, Move(moved, EntityChange(fields={"name": True})))
    await commit(database, run, Move(moved, change))
    assert await database.read(lambda tx: lanes.window(tx, run.id, 0, 20)) == [moved]
    (shown,), _ = await database.read(lambda tx: lanes.page(tx, run.id, limit=1, offset=0))
    assert shown == replace(moved, facts=None, outputs={})
    assert await database.read(partial(names_told, run.org_id)) == [1, True, "New"]
    entity = await database.read(lambda tx: entities.get(tx, world.org, row.entity_id))
    assert entity.fields == {"name": "New"}
    assert entity.published_at is not None


def names_told(org: str, tx: Tx) -> list[JsonValue]:
    """The names that changes of vendors have told of, one after the other."""
    rows = tx.execute(
        select(published_events.c.entity_fields)
        .where(published_events.c.org_id == org, published_events.c.name == "Vendor.Updated")
        .order_by(published_events.c.created_at, published_events.c.id)
    )
    return [decode_object(row.entity_fields)["name"] for row in rows]


async def test_a_change_goes_with_its_type(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 1))
    (row,) = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))

    def gone(tx: Tx) -> None:
        tx.execute(delete(entities_table))
        tx.execute(delete(entity_types_table).where(entity_types_table.c.org_id == world.org))

    await database.write(gone)
    change = EntityChange(fields={"name": "Late"})
    batch, _ = await commit(database, run, ended(row, L.COMPLETED, change=change))
    assert batch.completed == 1


async def test_nothing_is_written_past_the_end(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 2))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    change = EntityChange(fields={"name": "Late"})
    with pytest.raises(Conflict):
        await commit(database, run, ended(rows[0], L.COMPLETED), n=2)
    await database.write(
        lambda tx: endings.end_execution(tx, run.id, 1, RunStatus.CANCELLED, PLACES)
    )
    with pytest.raises(Conflict):
        await commit(database, run, ended(rows[0], L.COMPLETED, change=change))
    batch = await database.read(lambda tx: batches.get(tx, run.id))
    assert batch is not None
    assert batch.open == 2
    entity = await database.read(lambda tx: entities.get(tx, world.org, rows[0].entity_id))
    assert entity.fields == {"name": "Vendor 0"}
    with pytest.raises(Conflict):
        await database.write(lambda tx: batches.tell_of(tx, batch, 1))


@pytest.mark.parametrize(
    ("how", "failed", "completed", "status", "code"),
    [
        ("over", 0, 2, "completed", None),
        ("over", 1, 1, "completed", None),
        ("over", 2, 0, "failed", "all_entities_failed"),
        ("halted", 1, 0, "cancelled", "error_budget_exceeded"),
        ("halted", 1, 1, "completed", None),
        ("paused", 1, 0, "paused", None),
        ("paused", 0, 2, "paused", None),
        ("cancelled", 1, 0, "cancelled", None),
        ("broken", 1, 0, "failed", "worker_lost"),
        ("broken", 1, 1, "completed", None),
        ("after", 1, 1, "failed", "mail_failed"),
        ("after", 2, 0, "failed", "all_entities_failed"),
    ],
)
async def test_how_a_batch_ends(
    database: Database,
    world: World,
    how: str,
    failed: int,
    completed: int,
    status: str,
    code: str | None,
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 2))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    hows = [L.FAILED] * failed + [L.COMPLETED] * completed
    moves = [ended(row, one) for row, one in zip(rows, hows, strict=False)]
    await commit(database, run, *moves)
    failure = Failure(code="mail_failed", message="No.", step="z") if how == "after" else None
    for _ in range(2):
        await database.write(lambda tx: batches.close(tx, run.id, 1, how, PLACES, failure))
    row = await database.read(lambda tx: runs.get(tx, world.org, run.id))
    assert row.status == status
    assert (row.error or {}).get("code") == code
    counters: JsonValue = {"total": 2, "completed": completed, "failed": failed}
    assert row.output == (counters if status == "completed" else None)


async def test_a_budget_is_for_one_execution(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 5, max_failures=2, on_budget="pause"))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    batch, _ = await commit(database, run, ended(rows[0], L.FAILED))
    assert not batch.halted
    batch, _ = await commit(database, run, ended(rows[1], L.FAILED))
    assert batch.halted
    await database.write(lambda tx: batches.close(tx, run.id, 1, "halted", PLACES, None))
    resumed = await database.write(
        lambda tx: executions.resume(tx, world.org, run.id, None, catalog())
    )
    assert (resumed.status, resumed.n) == (RunStatus.QUEUED, 2)

    def go_on(tx: Tx) -> tuple[BatchRow, int]:
        executions.open_execution(tx, run.id, 2, PLACES, catalog())
        return batches.begin(tx, run.id)

    batch, first = await database.write(go_on)
    assert (batch.halted, batch.began_failed, batch.began_done, first) == (False, 2, 2, 2)
    batch, _ = await commit(database, resumed, ended(rows[2], L.FAILED), n=2)
    assert not batch.halted


async def test_a_batch_that_is_through_is_not_resumed(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 1))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    await commit(database, run, ended(rows[0], L.FAILED))
    await database.write(lambda tx: batches.close(tx, run.id, 1, "over", PLACES, None))
    with pytest.raises(Conflict, match="can be retried"):
        await database.write(lambda tx: executions.resume(tx, world.org, run.id, None, catalog()))


async def test_a_batch_does_not_resume_from_a_step(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 1))
    await database.write(lambda tx: batches.close(tx, run.id, 1, "cancelled", PLACES, None))
    with pytest.raises(Conflict, match="not from a step"):
        await database.write(lambda tx: executions.resume(tx, world.org, run.id, "a", catalog()))


async def test_a_deleted_batch_leaves_nothing(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 3))
    await database.write(lambda tx: batches.close(tx, run.id, 1, "cancelled", PLACES, None))

    await database.write(lambda tx: terminations.delete(tx, world.org, run.id))
    assert await database.read(lambda tx: batches.get(tx, run.id)) is None
    assert await database.read(lambda tx: lanes.page(tx, run.id, limit=5, offset=0)) == ([], 0)


async def test_the_end_is_foretold_by_the_pace_of_the_execution(
    database: Database, world: World
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 10))
    batch = await database.read(lambda tx: batches.get(tx, run.id))
    assert batch is not None
    assert batch.over_by(batch.began_at or 0) is None
    half = replace(batch, completed=4, failed=1, began_at=1_000, began_done=0)
    assert half.over_by(2_000) == 3_000
    resumed = replace(half, began_done=4)
    assert resumed.over_by(2_000) == 7_000


async def test_a_window_is_told_of_once_and_with_what_went_wrong(
    database: Database, world: World
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 30))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 40))
    error: dict[str, JsonValue] = {"code": "bad", "message": "Bad."}
    note = Note(step_id="a", code="mild", message='Mild. "code":"not this"')
    reason = Note(step_id="b", message='No. "code":"nor this"')
    moves = [
        *(ended(replace(row, error=error, step_id="a"), L.FAILED) for row in rows[:23]),
        ended(replace(rows[23], notes=[note, reason]), L.COMPLETED),
        ended(replace(rows[24], notes=[reason]), L.COMPLETED),
    ]
    await commit(database, run, *moves)
    for _ in range(2):
        await database.write(lambda tx: lanes.tell(tx, run.id, 1, 0, 40, 2))
        await database.write(lambda tx: lanes.tell(tx, run.id, 1, 0, 40, 1))
    log = await database.read(lambda tx: events.after(tx, {run.id: 0}))
    told = [event.data for event in log if event.type == "batch_progress"]
    counters = {"total": 30, "completed": 2, "failed": 23}
    quiet = counters | {"failed_here": 0, "failures": [], "noted_here": 0, "notes": []}
    loud = counters | {
        "failed_here": 23,
        "failures": [{"entity_id": row.entity_id, "step_id": "a"} | error for row in rows[:20]],
        "noted_here": 1,
        "notes": [{"entity_id": rows[23].entity_id} | note.model_dump()],
    }
    assert told == [quiet, loud, loud]


async def test_what_was_under_way_is_not_when_the_batch_pauses(
    database: Database, world: World
) -> None:
    run = await database.write(lambda tx: begun(tx, world, 2))
    rows = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    moved = replace(rows[0], status=L.RUNNING, step_id="a", attempts=1, outputs={"a": 1})
    await commit(database, run, Move(moved))
    await database.write(lambda tx: batches.close(tx, run.id, 1, "paused", PLACES, None))
    found = await database.read(lambda tx: lanes.window(tx, run.id, 0, 20))
    assert found[0] == replace(moved, status=L.PENDING)
