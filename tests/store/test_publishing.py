"""Events, and the runs that they start in the same transaction."""

import asyncio
import threading
from functools import partial

import pytest
from pydantic import JsonValue
from sqlalchemy import text

from activities.registry import catalog
from engine.errors import Conflict, NotFound
from engine.lifecycle import DefinitionStatus, RunStatus
from store import authoring, executions, live, published, publishing, runs, triggers, workflows
from store.children import LONGEST_CHAIN
from store.database import Database, Tx
from store.publishing import NewEvent, Subject, Unjudged, Verdicts
from store.runs import RunRow, Wanted
from store.workflows import Trigger, WorkflowRow
from tests.store.world import STEP, World, log, overlap, seen

SCHEMA: JsonValue = {
    "type": "object",
    "properties": {"event": {"properties": {"data": {"required": ["amount"]}}}},
}


def bound(
    tx: Tx,
    org: str,
    event: str = "Order.Placed",
    conditions: JsonValue = None,
    *,
    status: str = "active",
    schema: JsonValue = None,
) -> WorkflowRow:
    definition: dict[str, JsonValue] = {"name": "react", "steps": [STEP]}
    if schema is not None:
        definition["input_schema"] = schema
    return workflows.create(
        tx,
        org,
        name="react",
        description=None,
        definition=definition,
        status=status,
        trigger_type="event",
        tags=[],
        trigger=Trigger(event, conditions),
    )


async def published_by(database: Database, org: str, *events: NewEvent) -> list[RunRow]:
    return await publishing.publishing(
        database, lambda tx, verdicts: publishing.publish(tx, org, events, verdicts)
    )


def runs_of(tx: Tx, org: str, workflow: WorkflowRow) -> list[RunRow]:
    found, _ = runs.page(tx, org, Wanted(workflow_id=workflow.id), limit=100, offset=0)
    return [seen(tx, run.id) for run in found]


async def test_an_event_starts_the_active_workflows_that_are_bound_to_it(
    database: Database, world: World
) -> None:
    def prepare(tx: Tx) -> list[WorkflowRow]:
        for status in ("draft", "paused", "archived"):
            bound(tx, world.org, status=status)
        bound(tx, world.org, "Order.Cancelled")
        bound(tx, world.other_org)
        deleted = bound(tx, world.org)
        authoring.end(tx, world.org, deleted.id)
        return [bound(tx, world.org), bound(tx, world.org)]

    wanted = await database.write(prepare)
    event = NewEvent("Order.Placed", {"amount": 7})
    started = await published_by(database, world.org, event)
    assert sorted(run.workflow_id for run in started) == sorted(one.id for one in wanted)
    for run in started:
        assert run.input == {
            "event": {"id": f"cbevt_{event.id}", "name": "Order.Placed", "data": {"amount": 7}},
            "entity": None,
        }
        assert (run.trigger, run.event_id, run.depth) == ("event", event.id, 0)
        assert run.status is RunStatus.QUEUED
        assert run.dispatched_at is None
    everything = await database.read(
        lambda tx: runs.page(tx, world.org, Wanted(), limit=100, offset=0)
    )
    assert everything[1] == 2
    row = await database.read(lambda tx: published.get(tx, world.org, event.id))
    assert (row.name, row.data, row.entity_id) == ("Order.Placed", {"amount": 7}, None)
    of_event = await database.read(lambda tx: published.runs_of(tx, event.id, 10))
    assert sorted(run.id for run in of_event) == sorted(run.id for run in started)


@pytest.mark.parametrize(
    "conditions",
    [
        "event.data.amount > 5 && entity.fields.tier == 'gold'",
        {
            "combiner": "all",
            "children": [{"rule_type": "field", "path": ["tier"], "op": "is", "value": "gold"}],
        },
    ],
)
async def test_conditions_decide_and_those_that_do_not_hold_leave_nothing(
    database: Database, world: World, conditions: JsonValue
) -> None:
    workflow = await database.write(lambda tx: bound(tx, world.org, "Vendor.Updated", conditions))
    for tier, holds in (("gold", True), ("silver", False)):
        subject = Subject("e" * 32, "Vendor", {"tier": tier})
        event = NewEvent("Vendor.Updated", {"amount": 7}, subject)
        started = await published_by(database, world.org, event)
        assert [run.workflow_id for run in started] == [workflow.id] * holds
    found = await database.read(lambda tx: runs_of(tx, world.org, workflow))
    assert [run.input["entity"] for run in found] == [
        {"id": "e" * 32, "type": "Vendor", "fields": {"tier": "gold"}}
    ]
    assert await database.read(lambda tx: triggers.last_failure(tx, workflow.id)) is None


async def test_a_condition_that_cannot_be_evaluated_is_told_once_a_minute(
    database: Database, world: World
) -> None:
    workflow = await database.write(
        lambda tx: bound(tx, world.org, conditions="event.data.amount > 5")
    )
    first = NewEvent("Order.Placed", {"secret": "s3cr3t"})
    for event in (first, NewEvent("Order.Placed", {})):
        assert await published_by(database, world.org, event) == []
    failure = await database.read(lambda tx: triggers.last_failure(tx, workflow.id))
    assert failure is not None
    assert failure.event_id == first.id
    assert "amount" in failure.message
    assert "s3cr3t" not in failure.message

    def rebind(tx: Tx) -> None:
        authoring.revise(
            tx,
            world.org,
            workflow.id,
            name="react",
            description=None,
            definition={"name": "react", "steps": [STEP]},
            change_summary="",
            trigger=Trigger("Order.Placed", None),
        )

    await database.write(rebind)
    assert await database.read(lambda tx: triggers.last_failure(tx, workflow.id)) is None
    assert len(await published_by(database, world.org, NewEvent("Order.Placed", {}))) == 1


async def test_an_input_that_does_not_fit_leaves_a_failed_run(
    database: Database, world: World
) -> None:
    workflow = await database.write(lambda tx: bound(tx, world.org, schema=SCHEMA))
    assert await published_by(database, world.org, NewEvent("Order.Placed", {"no": 1})) == []
    (run,) = await database.read(lambda tx: runs_of(tx, world.org, workflow))
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error["code"] == "input_invalid"
    assert "input_data.event.data" in str(run.error["message"])
    told = await database.read(lambda tx: log(tx, run.id))
    assert [event.type for event in told] == ["run_queued", "run_completed"]
    assert await database.read(lambda tx: runs.undispatched(tx, run.updated_at + 1, 10)) == []
    with pytest.raises(Conflict, match="input_schema"):
        await database.write(lambda tx: executions.resume(tx, world.org, run.id, None, catalog()))
    assert (
        len(await published_by(database, world.org, NewEvent("Order.Placed", {"amount": 1}))) == 1
    )


async def test_a_chain_ends(database: Database, world: World) -> None:
    workflow = await database.write(lambda tx: bound(tx, world.org))
    last = NewEvent("Order.Placed", {}, depth=LONGEST_CHAIN - 1)
    assert [run.depth for run in await published_by(database, world.org, last)] == [15]
    too_many = NewEvent("Order.Placed", {}, depth=LONGEST_CHAIN)
    assert await published_by(database, world.org, too_many) == []
    failure = await database.read(lambda tx: triggers.last_failure(tx, workflow.id))
    assert failure is not None
    assert failure.message == "16 runs led to the event; 16 is the most."
    assert await database.read(lambda tx: published.get(tx, world.org, too_many.id))


async def test_nothing_is_written_before_it_was_judged(database: Database, world: World) -> None:
    await database.write(lambda tx: bound(tx, world.org))
    event = NewEvent("Order.Placed", {})
    with pytest.raises(Unjudged):
        await database.write(lambda tx: publishing.publish(tx, world.org, [event], Verdicts()))
    with pytest.raises(NotFound):
        await database.read(lambda tx: published.get(tx, world.org, event.id))


async def test_a_workflow_that_is_changed_meanwhile_is_judged_again(
    database: Database, world: World
) -> None:
    workflow = await database.write(lambda tx: bound(tx, world.org, conditions="false"))
    event = NewEvent("Order.Placed", {})
    verdicts = Verdicts()

    def work(tx: Tx) -> list[RunRow]:
        return publishing.publish(tx, world.org, [event], verdicts)

    with pytest.raises(Unjudged) as unjudged:
        await database.write(work)
    verdicts.judge(unjudged.value.cases)
    await database.write(
        lambda tx: authoring.revise(
            tx,
            world.org,
            workflow.id,
            name="react",
            description=None,
            definition={"name": "react", "steps": [STEP]},
            change_summary="",
            trigger=Trigger("Order.Placed", "true"),
        )
    )
    with pytest.raises(Unjudged) as again:
        await database.write(work)
    verdicts.judge(again.value.cases)
    assert [run.version for run in await database.write(work)] == [2]


async def test_a_run_of_a_workflow_that_is_paused_meanwhile_is_paused_as_well(
    database: Database, own_database: Database, world: World
) -> None:
    workflow = await database.write(lambda tx: bound(tx, world.org))
    event = NewEvent("Order.Placed", {})
    verdicts = Verdicts()
    with pytest.raises(Unjudged) as unjudged:
        await database.write(lambda tx: publishing.publish(tx, world.org, [event], verdicts))
    verdicts.judge(unjudged.value.cases)

    def publish(tx: Tx) -> object:
        return publishing.publish(tx, world.org, [event], verdicts)

    def pause(tx: Tx) -> object:
        authoring.set_status(tx, world.org, workflow.id, DefinitionStatus.PAUSED)
        return live.pause_all(tx, world.org, workflow.id)

    await overlap(database, publish, own_database, pause)
    (run,) = await database.read(lambda tx: runs_of(tx, world.org, workflow))
    assert run.status is RunStatus.PAUSED
    assert await published_by(database, world.org, NewEvent("Order.Placed", {})) == []


async def test_many_publish_at_once_and_each_starts_each_once(
    database: Database, own_database: Database, world: World
) -> None:
    made = [await database.write(lambda tx: bound(tx, world.org)) for _ in range(3)]
    events = [NewEvent("Order.Placed", {"n": n}) for n in range(12)]
    await asyncio.gather(
        *(
            published_by(one, world.org, *events[start : start + 3])
            for one, start in zip([database, own_database] * 2, range(0, 12, 3), strict=True)
        )
    )
    for workflow in made:
        found = await database.read(partial(runs_of, org=world.org, workflow=workflow))
        assert sorted(str(run.event_id) for run in found) == sorted(one.id for one in events)


def _locks(tx: Tx, granted: bool) -> int:
    """How many advisory locks are held, or waited for."""
    count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = :granted"
    return int(tx.execute(text(count), {"granted": granted}).scalar_one())


async def _until_locks(database: Database, count: int, *, granted: bool) -> None:
    async with asyncio.timeout(30):
        while await database.read(partial(_locks, granted=granted)) < count:
            await asyncio.sleep(0.02)


# SQLite has one writer at a time.
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_an_author_waits_for_who_came_first_and_for_nobody_else(
    database: Database, world: World
) -> None:
    """Imports that follow each other without a gap do not keep a workflow from being paused."""
    workflow = await database.write(lambda tx: bound(tx, world.org))
    go_on = threading.Event()

    def first(tx: Tx) -> object:
        workflows.hold(tx, world.org, workflow.id)
        return go_on.wait(30)

    def pause(tx: Tx) -> object:
        return authoring.set_status(tx, world.org, workflow.id, DefinitionStatus.PAUSED)

    def bound_by_then(tx: Tx) -> object:
        return triggers.bound(tx, world.org, {"Order.Placed"})

    def status_by_then(tx: Tx) -> object:
        return workflows.hold(tx, world.org, workflow.id).status

    tasks = [asyncio.create_task(database.write(first))]
    await _until_locks(database, 1, granted=True)
    for count, work in enumerate((pause, bound_by_then, status_by_then), start=1):
        tasks.append(asyncio.create_task(database.write(work)))
        await _until_locks(database, count, granted=False)
    go_on.set()
    assert (await asyncio.gather(*tasks))[2:] == [{}, "paused"]
