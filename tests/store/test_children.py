"""Runs that steps start: the same one for every attempt, and none outlives whoever waits for it."""

import pytest
from sqlalchemy import update

from activities.registry import catalog
from engine.book import PlaceCall, Wake
from engine.call import StepCall
from engine.errors import StepError
from engine.lifecycle import Intent, RunStatus, StepStatus
from engine.outcomes import Await
from store import children, endings, executions, journal, parking, steps, workflows
from store.database import Database, Tx
from store.endings import Waiting
from store.runs import RunRow
from store.tables import workflows as workflow_table
from tests.executions import execution
from tests.store.world import World, begin, log, new_workflow, overlap, seen


def call(run: RunRow, step: str = "call", **more: object) -> StepCall:
    return StepCall(run=run.id, step=step).model_copy(update={"n": run.n, **more})


def start(
    tx: Tx, world: World, asked: StepCall, *, named: str = "", awaited: bool = True
) -> RunRow:
    return children.start(
        tx,
        asked,
        workflow=named or world.workflow.id,
        input={"x": 1},
        awaited=awaited,
        catalog=catalog(),
    )


def end(tx: Tx, run: RunRow, how: RunStatus, limit: int = 10) -> endings.Ended:
    return endings.end_execution(tx, run.id, run.n, how, limit)


async def test_every_attempt_finds_the_same_run(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        parent = world.begun(tx)
        assert children.find(tx, call(parent)) is None
        child = start(tx, world, call(parent))
        assert (child.parent_run_id, child.parent_step_id) == (parent.id, "call")
        assert (child.parent_iteration, child.awaited, child.depth) == ("", True, 1)
        assert (child.org_id, child.surface, child.trigger) == (
            world.org,
            "full_engine",
            "workflow",
        )
        assert (child.version, child.input, child.status) == (1, {"x": 1}, RunStatus.QUEUED)
        assert start(tx, world, call(parent, attempt=2, local=True)) == seen(tx, child.id)
        assert children.find(tx, call(parent, poll=True)) == seen(tx, child.id)
        others = [
            start(tx, world, call(parent, iteration=[3, 0])),
            start(tx, world, call(parent, iteration=[3, 1])),
            start(tx, world, call(parent, generation=2)),
            start(tx, world, call(parent, step="other")),
        ]
        assert len({child.id, *(other.id for other in others)}) == 5
        assert others[0].parent_iteration == "3.0"
        # They lie in the index where the parent lies.
        assert {run.id[:13] for run in (child, *others)} == {f"{parent.id[:12]}7"}

    await database.write(work)


@pytest.mark.parametrize("how", [RunStatus.FAILED, RunStatus.CANCELLED])
async def test_what_did_not_succeed_is_resumed_by_a_later_attempt_alone(
    database: Database, world: World, how: RunStatus
) -> None:
    def work(tx: Tx) -> None:
        parent = world.begun(tx)
        child = start(tx, world, call(parent))
        begin(tx, child.id)
        end(tx, child, how)
        assert start(tx, world, call(parent)).status is how
        assert start(tx, world, call(parent, attempt=2), awaited=False).status is how
        resumed = start(tx, world, call(parent, attempt=2))
        assert (resumed.status, resumed.n, resumed.awaited) == (RunStatus.QUEUED, 2, True)
        begin(tx, child.id, 2)
        end(tx, resumed, RunStatus.COMPLETED)
        assert start(tx, world, call(parent, attempt=3)).status is RunStatus.COMPLETED

    await database.write(work)


async def test_a_resumed_parent_resumes_it(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        parent = world.begun(tx)
        child = start(tx, world, call(parent))
        begin(tx, child.id)
        end(tx, child, RunStatus.FAILED)
        end(tx, parent, RunStatus.FAILED)
        parent = executions.resume(tx, world.org, parent.id, None, catalog())
        begin(tx, parent.id, 2)
        assert start(tx, world, call(parent)).n == 2

    await database.write(work)


async def test_what_is_refused(database: Database, world: World) -> None:
    def refused(tx: Tx, asked: StepCall, named: str = "") -> str:
        with pytest.raises(StepError) as caught:
            start(tx, world, asked, named=named)
        assert caught.value.retryable is False
        return caught.value.stable_code

    def work(tx: Tx) -> None:
        parent = world.begun(tx)
        for named in (
            "nothing",
            "0" * 32,
            world.other_workflow.id,
            f"wf_{world.other_workflow.id}",
        ):
            assert refused(tx, call(parent), named) == "workflow_not_found"
        shelved = new_workflow(tx, world.org, "shelved")
        for status in ("paused", "archived"):
            tx.execute(
                update(workflow_table)
                .where(workflow_table.c.id == shelved.id)
                .values(status=status)
            )
            assert refused(tx, call(parent), "shelved") == "workflow_not_runnable"
        end(tx, parent, RunStatus.COMPLETED)
        assert refused(tx, call(parent)) == "run_over"
        assert children.find(tx, call(parent)) is None

    await database.write(work)


async def test_a_chain_has_an_end(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        run = world.begun(tx)
        for depth in range(1, children.LONGEST_CHAIN):
            run = start(tx, world, call(run))
            assert run.depth == depth
            begin(tx, run.id, limit=100)
        with pytest.raises(StepError) as caught:
            start(tx, world, call(run))
        assert caught.value.stable_code == "run_chain_too_deep"

    await database.write(work)


async def test_a_workflow_is_found_by_id_or_by_name(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        def found(named: str) -> str | None:
            row = workflows.find(tx, world.org, named)
            return row.id if row else None

        one, two, draft = (new_workflow(tx, world.org, "Twin") for _ in range(3))
        assert found(one.id) == found(f"wf_{one.id}") == one.id
        assert found("twin") is None
        assert found("Twin") == draft.id

        def put(row: workflows.WorkflowRow, **values: object) -> None:
            tx.execute(update(workflow_table).where(workflow_table.c.id == row.id).values(**values))

        put(draft, status="draft", updated_at=draft.updated_at + 9_000_000)
        assert found("Twin") == two.id
        put(one, updated_at=two.updated_at + 1)
        assert found("Twin") == one.id
        put(one, deleted_at=1)
        put(two, status="archived")
        assert found("Twin") == draft.id
        # An id goes before a name that looks like it.
        put(draft, name=world.workflow.id)
        assert found(world.workflow.id) == world.workflow.id

    await database.write(work)


# --- ends --------------------------------------------------------------------------------------


def family(tx: Tx, world: World) -> dict[str, RunRow]:
    """A parent that waits for a child in every state, and has let go of two more."""
    parent = world.begun(tx)
    found = {"parent": parent}
    for name in ("running", "paused", "queued", "completed", "detached", "free"):
        awaited = name not in ("detached", "free")
        found[name] = start(tx, world, call(parent, step=name), awaited=awaited)
    for name in ("running", "detached"):
        begin(tx, found[name].id)
    begin(tx, found["completed"].id)
    end(tx, found["completed"], RunStatus.COMPLETED)
    begin(tx, found["paused"].id)
    below = found["below"] = start(tx, world, call(found["paused"], step="below"))
    begin(tx, below.id)
    end(tx, found["paused"], RunStatus.PAUSED)
    return found


EXPECTED = {
    "running": (RunStatus.RUNNING, Intent.CANCEL),
    "paused": (RunStatus.CANCELLED, None),
    "below": (RunStatus.RUNNING, Intent.CANCEL),
    "queued": (RunStatus.CANCELLED, None),
    "completed": (RunStatus.COMPLETED, None),
    "detached": (RunStatus.RUNNING, None),
    "free": (RunStatus.QUEUED, None),
}


@pytest.mark.parametrize("how", [RunStatus.CANCELLED, RunStatus.FAILED, RunStatus.COMPLETED])
async def test_an_end_reaches_whom_the_run_waits_for(
    database: Database, world: World, how: RunStatus
) -> None:
    def work(tx: Tx) -> None:
        found = family(tx, world)
        ended = end(tx, found["parent"], how)
        states = {name: seen(tx, found[name].id) for name in EXPECTED}
        assert {name: (run.status, run.intent) for name, run in states.items()} == EXPECTED
        told = {execution(found[name].id, 1) for name in ("running", "paused", "below", "queued")}
        assert set(ended.called_off) == told
        for name in ("paused", "queued"):
            assert [str(e.type) for e in log(tx, found[name].id)][-1] == "run_completed"
        again = end(tx, found["parent"], how)
        assert again == endings.Ended()

    await database.write(work)


async def test_a_pause_leaves_them_alone(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        found = family(tx, world)
        before = {name: seen(tx, found[name].id) for name in EXPECTED}
        assert end(tx, found["parent"], RunStatus.PAUSED).called_off == []
        assert {name: seen(tx, found[name].id) for name in EXPECTED} == before
        # A paused run is cancelled in SQL at once, and what it waits for with it.
        executions.cancel(tx, world.org, found["parent"].id)
        states = {name: seen(tx, found[name].id) for name in EXPECTED}
        assert {name: (run.status, run.intent) for name, run in states.items()} == EXPECTED

    await database.write(work)


async def test_the_places_of_both_are_handed_on(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        parent, holding = world.begun(tx), world.begun(tx)
        child = start(tx, world, call(parent))
        newer = [world.run(tx) for _ in range(3)]
        executions.close_execution(tx, holding.id, 1, RunStatus.COMPLETED, 2)
        assert seen(tx, child.id).admitted
        ended = end(tx, parent, RunStatus.CANCELLED, 2)
        assert ended.handed == [execution(run.id, 1) for run in newer[:2]]
        assert seen(tx, child.id).status is RunStatus.CANCELLED
        assert ended.called_off == [execution(child.id, 1)]

    await database.write(work)


async def test_a_cancelled_parent_that_is_queued_hands_on_what_its_child_held(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> None:
        parent, holding = world.begun(tx), world.begun(tx)
        child = start(tx, world, call(parent))
        end(tx, parent, RunStatus.PAUSED, 1)
        newer = world.run(tx)
        executions.close_execution(tx, holding.id, 1, RunStatus.COMPLETED, 1)
        assert (seen(tx, child.id).admitted, seen(tx, newer.id).admitted) == (True, False)
        executions.cancel(tx, world.org, parent.id)
        assert seen(tx, child.id).status is RunStatus.CANCELLED
        assert seen(tx, newer.id).admitted

    await database.write(work)


async def test_the_end_of_a_child_says_who_waits(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        parent = world.begun(tx)
        child = start(tx, world, call(parent, iteration=[2, 0]))
        alone = start(tx, world, call(parent, step="off"), awaited=False)
        paused = start(tx, world, call(parent, step="later"))
        for run in (child, alone, paused):
            begin(tx, run.id)
        assert end(tx, paused, RunStatus.PAUSED).waiting is None
        assert end(tx, alone, RunStatus.COMPLETED).waiting is None
        assert end(tx, child, RunStatus.FAILED).waiting == Waiting(
            parent.temporal_id, Wake(step="call", iteration=[2, 0])
        )
        # The parent is told by the name that its execution has by then, or not at all.
        end(tx, parent, RunStatus.FAILED)
        resumed = start_again(tx, world, parent)
        later = start(tx, world, call(resumed, step="later"))
        begin(tx, later.id, later.n)
        waiting = end(tx, later, RunStatus.COMPLETED).waiting
        assert waiting is not None
        assert waiting.temporal_id == execution(parent.id, 2).temporal_id

    await database.write(work)


def start_again(tx: Tx, world: World, run: RunRow) -> RunRow:
    row = executions.resume(tx, world.org, run.id, None, catalog())
    begin(tx, row.id, row.n)
    return seen(tx, row.id)


async def test_a_wait_for_a_run_is_recorded_with_its_id(database: Database, world: World) -> None:
    def work(tx: Tx) -> None:
        parent = world.with_steps(tx, {"id": "call", "type": "transform", "config": {}}).begun(tx)
        waits = Await(interval=15, child="ab" * 16)
        journal.finish(tx, call(parent), waits)
        row = steps.some(tx, parent.id, {"call": ""})["call"]
        assert (row.status, row.wake_at) == (StepStatus.WAITING, None)
        assert row.outcome == replace_child(waits)
        assert log(tx, parent.id)[-1].data == {"child_run_id": f"run_{'ab' * 16}"}

    await database.write(work)


def replace_child(waits: Await) -> Await:
    """What travels and is kept of it: no data."""
    return waits.model_copy(update={"child": None})


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("first", ["start", "end"])
async def test_no_child_begins_under_a_parent_that_ends(
    database: Database, url: str, world: World, first: str
) -> None:
    """Whichever comes first: it is cancelled with the parent, or it was never accepted."""
    parent = await database.write(world.begun)
    acts = {
        "start": lambda tx: start(tx, world, call(parent)),
        "end": lambda tx: end(tx, parent, RunStatus.CANCELLED),
    }
    second = Database(url)
    await overlap(database, acts[first], second, acts["end" if first == "start" else "start"])
    await second.close()
    child = await database.read(lambda tx: children.find(tx, call(parent)))
    assert (child and child.status) == (RunStatus.CANCELLED if first == "start" else None)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("act", ["begin", "park", "end"])
async def test_a_child_that_moves_while_its_parent_ends(
    database: Database, url: str, world: World, act: str
) -> None:
    """Neither is a deadlock's victim, and the child does not go on as if nothing had happened."""

    def make(tx: Tx) -> tuple[RunRow, RunRow]:
        parent = world.begun(tx)
        child = start(tx, world, call(parent))
        if act != "begin":
            begin(tx, child.id)
        return parent, seen(tx, child.id)

    parent, child = await database.write(make)
    place = PlaceCall(run=child.id, n=1, parkings=0)
    acts = {
        "begin": lambda tx: begin(tx, child.id),
        "park": lambda tx: parking.give_back(tx, place, 10),
        "end": lambda tx: end(tx, child, RunStatus.FAILED),
    }
    attempts = []

    def ending(tx: Tx) -> endings.Ended:
        attempts.append(1)
        return end(tx, parent, RunStatus.CANCELLED)

    second = Database(url)
    await overlap(database, acts[act], second, ending)
    await second.close()
    assert attempts == [1]
    row = await database.read(lambda tx: seen(tx, child.id))
    expected = (RunStatus.FAILED, None) if act == "end" else (RunStatus.RUNNING, Intent.CANCEL)
    assert (row.status, row.intent) == expected
