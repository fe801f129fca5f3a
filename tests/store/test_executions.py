"""Opening and ending executions, and every verb in every state."""

from collections.abc import Callable

import pytest
from pydantic import JsonValue
from sqlalchemy import func, select

from activities.registry import catalog
from engine.call import StepCall
from engine.errors import Conflict, Invalid, NotFound, StepError
from engine.facts import Failure
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Done, Sleep
from store import blobs, executions, journal, runs, steps
from store.database import Database, Tx
from store.runs import RunRow
from store.tables import blobs as blob_table
from tests.executions import execution
from tests.store.world import PLACES, World, begin, log, seen

BAD = Failure(code="bad", message="Bad.", step="b")
Verb = Callable[[Tx, str, str], RunRow]


def resume(tx: Tx, org: str, run_id: str, from_step: str | None = None) -> RunRow:
    return executions.resume(tx, org, run_id, from_step, catalog())


VERBS: dict[str, Verb] = {
    "cancel": executions.cancel,
    "pause": executions.pause,
    "resume": resume,
}


def put(tx: Tx, world: World, state: str) -> RunRow:
    """A run in that state, brought there by what brings runs there."""
    if state in ("queued", "admitted"):
        run = world.run(tx)
        if state == "admitted":
            assert executions.hand_on(tx, world.org, PLACES) == [execution(run.id, 1)]
        return seen(tx, run.id)
    run = world.begun(tx)
    match state:
        case "pausing":
            executions.pause(tx, world.org, run.id)
        case "cancelling":
            executions.cancel(tx, world.org, run.id)
        case "running":
            pass
        case _:
            executions.close_execution(tx, run.id, 1, RunStatus(state), PLACES)
    return seen(tx, run.id)


#: What each verb makes of each state: status and intent, or nothing where it is refused.
OUTCOMES: dict[str, dict[str, tuple[str, str | None] | None]] = {
    "queued": {"cancel": ("cancelled", None), "pause": ("paused", None), "resume": None},
    "admitted": {"cancel": ("cancelled", None), "pause": ("paused", None), "resume": None},
    "running": {"cancel": ("running", "cancel"), "pause": ("running", "pause"), "resume": None},
    "pausing": {"cancel": ("running", "cancel"), "pause": ("running", "pause"), "resume": None},
    "cancelling": {"cancel": ("running", "cancel"), "pause": None, "resume": None},
    "paused": {
        "cancel": ("cancelled", None),
        "pause": ("paused", None),
        "resume": ("queued", None),
    },
    "completed": {"cancel": None, "pause": None, "resume": None},
    "failed": {"cancel": None, "pause": None, "resume": ("queued", None)},
    "cancelled": {"cancel": ("cancelled", None), "pause": None, "resume": ("queued", None)},
}
TOLD = {"cancelled": "run_completed", "paused": "run_paused", "queued": "run_resumed"}


@pytest.mark.parametrize("state", OUTCOMES)
async def test_every_verb_in_every_state(database: Database, world: World, state: str) -> None:
    for verb, expected in OUTCOMES[state].items():
        run = await database.write(lambda tx: put(tx, world, state))
        before = await database.read(lambda tx, run=run: log(tx, run.id))
        doing = database.write(lambda tx, v=verb, run=run: VERBS[v](tx, world.org, run.id))
        if expected is None:
            with pytest.raises(Conflict):
                await doing
            assert await database.read(lambda tx, run=run: seen(tx, run.id)) == run
            continue
        after = await doing
        assert after == await database.read(lambda tx, run=run: seen(tx, run.id))
        assert (after.status, after.intent) == expected
        assert after.admitted == (after.status is RunStatus.RUNNING)
        assert (after.completed_at is not None) == (after.status == "cancelled")
        told = (await database.read(lambda tx, run=run: log(tx, run.id)))[len(before) :]
        changed = [] if after.status is run.status else [TOLD[after.status]]
        assert [event.type for event in told] == changed
        again = await database.write(
            lambda tx, v=verb, run=run: VERBS[v](tx, world.org, run.id) if v != "resume" else None
        )
        assert again in (None, after)
        # Nothing of it is left over for the next state.
        await database.write(lambda tx, after=after: end(tx, after))


def end(tx: Tx, run: RunRow) -> None:
    executions.close_execution(tx, run.id, run.n, RunStatus.CANCELLED, PLACES)


async def test_a_foreign_run_is_not_there(database: Database, world: World) -> None:
    run = await database.write(lambda tx: put(tx, world, "running"))
    for verb in VERBS.values():
        for org, run_id in ((world.other_org, run.id), (world.org, "f" * 32)):
            with pytest.raises(NotFound):
                await database.write(lambda tx, v=verb, o=org, r=run_id: v(tx, o, r))
    assert await database.read(lambda tx: seen(tx, run.id)) == run


async def test_an_execution_begins_once(database: Database, world: World) -> None:
    run = await database.write(world.run)
    first, again = [await database.write(lambda tx: begin(tx, run.id)) for _ in range(2)]
    assert first == again
    assert first.state == "admitted"
    assert first.plan is not None
    assert [step.id for step in first.plan.steps] == ["a"]
    events = await database.read(lambda tx: log(tx, run.id))
    assert [event.type for event in events] == ["run_queued", "run_started"]
    assert events[1].data == {"execution": 1}
    row = await database.read(lambda tx: seen(tx, run.id))
    assert (row.status, row.admitted) == (RunStatus.RUNNING, True)
    assert row.started_at is not None


@pytest.mark.parametrize("state", ["paused", "completed", "failed", "cancelled"])
async def test_an_execution_that_is_not_wanted_does_not_begin(
    database: Database, world: World, state: str
) -> None:
    run = await database.write(lambda tx: put(tx, world, state))
    for run_id, n in ((run.id, 1), (run.id, 2), ("f" * 32, 1)):
        opening = await database.write(lambda tx, r=run_id, n=n: begin(tx, r, n))
        assert opening.state == "over"
    assert await database.read(lambda tx: seen(tx, run.id)) == run


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "paused"])
async def test_an_execution_ends_once(database: Database, world: World, status: str) -> None:
    ended = RunStatus(status)
    run = await database.write(world.begun)
    error = BAD if ended is RunStatus.FAILED else None

    def close(tx: Tx, how: RunStatus, n: int = 1, output: JsonValue = None) -> object:
        return executions.close_execution(
            tx, run.id, n, how, PLACES, output=output, error=error if how is ended else None
        )

    await database.write(lambda tx: journal.begin(tx, StepCall(run=run.id, step="b"), "w", 1))
    await database.write(lambda tx: close(tx, ended, n=2))
    assert (await database.read(lambda tx: seen(tx, run.id))).status is RunStatus.RUNNING
    await database.write(lambda tx: close(tx, ended, output={"é": 1}))
    row = await database.read(lambda tx: seen(tx, run.id))
    assert (row.status, row.intent, row.admitted) == (ended, None, False)
    assert row.output == ({"é": 1} if status == "completed" else None)
    assert (row.completed_at is None) == (status == "paused")
    why = {"code": "bad", "message": "Bad.", "step": "b"}
    assert row.error == (why if error else None)
    events = await database.read(lambda tx: log(tx, run.id))
    last = events[-1]
    if status == "paused":
        assert (last.type, last.data) == ("run_paused", {})
    else:
        told = {"error": {"code": "bad", "message": "Bad.", "step_id": "b"}} if error else {}
        assert last.type == "run_completed"
        took = last.data["duration_seconds"]
        assert isinstance(took, int)
        assert last.data == {"status": status, "duration_seconds": took} | told
    open_step = await database.read(lambda tx: steps.some(tx, run.id, {"b": ""})["b"].status)
    assert (open_step == StepStatus.CANCELLED) == (status in ("failed", "cancelled"))
    large = "x" * (blobs.INLINE + 1)
    for how in RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.PAUSED:
        assert await database.write(lambda tx, how=how: close(tx, how, output=large)) == []
    assert await database.read(lambda tx: seen(tx, run.id)) == row
    assert await database.read(lambda tx: log(tx, run.id)) == events
    kept = select(func.count()).select_from(blob_table)
    assert await database.read(lambda tx: tx.scalar(kept)) == 0


async def test_the_output_of_a_run_is_bounded(database: Database, world: World) -> None:
    run = await database.write(world.begun)

    def close(tx: Tx, size: int) -> RunRow:
        executions.close_execution(
            tx, run.id, 1, RunStatus.COMPLETED, PLACES, output="x" * (size - 2)
        )
        return seen(tx, run.id)

    with pytest.raises(StepError, match="output of the run is 8,388,609 bytes"):
        await database.write(lambda tx: close(tx, blobs.MAX + 1))
    row = await database.write(lambda tx: close(tx, blobs.MAX))
    assert (row.status, row.output) == (RunStatus.COMPLETED, None)
    assert row.output_blob is not None
    content = await database.read(lambda tx: blobs.get(tx, str(row.output_blob)))
    assert content == b'"' + b"x" * (blobs.MAX - 2) + b'"'


@pytest.mark.parametrize("asked", ["pause", "cancel"])
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "paused"])
async def test_what_was_asked_while_the_run_ended(
    database: Database, world: World, asked: str, status: str
) -> None:
    """An end is an end; but whoever is to be cancelled does not stay paused."""

    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        VERBS[asked](tx, world.org, run.id)
        executions.close_execution(tx, run.id, 1, RunStatus(status), PLACES)
        return seen(tx, run.id)

    row = await database.write(work)
    expected = "cancelled" if (asked, status) == ("cancel", "paused") else status
    assert (row.status, row.intent, row.admitted) == (expected, None, False)
    assert (row.completed_at is None) == (expected == "paused")
    last = (await database.read(lambda tx: log(tx, row.id)))[-1]
    assert last.data.get("status", "paused") == expected


@pytest.mark.parametrize("state", ["queued", "admitted", "running", "pausing", "cancelling"])
async def test_an_execution_that_temporal_has_lost(
    database: Database, world: World, state: str
) -> None:
    def lose(tx: Tx, run: RunRow, n: int = 1) -> RunRow:
        executions.lost(tx, run.id, n, "It was terminated.", PLACES)
        return seen(tx, run.id)

    run = await database.write(lambda tx: put(tx, world, state))
    assert await database.write(lambda tx: lose(tx, run, n=2)) == run
    row = await database.write(lambda tx: lose(tx, run))
    expected = "cancelled" if state == "cancelling" else "failed"
    assert (row.status, row.intent, row.admitted) == (expected, None, False)
    if expected == "failed":
        assert row.error is not None
        assert row.error["code"] == "execution_lost"
        assert row.error["message"] == "It was terminated."
    assert await database.write(lambda tx: lose(tx, run)) == row


# --- resuming -----------------------------------------------------------------------------------


def chain(*ids: str, **rest: JsonValue) -> list[JsonValue]:
    """Steps that depend on one another, in this order."""
    pairs = zip((None, *ids), ids, strict=False)
    return [
        {"id": step, "type": "transform", "config": {}, "depends_on": [before] if before else []}
        | (rest if step == ids[-1] else {})
        for before, step in pairs
    ]


async def recorded(database: Database, world: World, definition: list[JsonValue]) -> RunRow:
    """A run of that definition that has failed; `a` and `b` had completed, `c` had failed."""

    def work(tx: Tx) -> RunRow:
        run = world.with_steps(tx, *definition).begun(tx)
        for step in ("a", "b"):
            journal.finish(tx, StepCall(run=run.id, step=step), Done(output=step))
        journal.fail(tx, StepCall(run=run.id, step="c"), BAD)
        if any(isinstance(step, dict) and step["id"] == "rescue" for step in definition):
            journal.finish(tx, StepCall(run=run.id, step="rescue"), Done(output="rescue"))
        executions.close_execution(tx, run.id, 1, RunStatus.FAILED, PLACES, error=BAD)
        return seen(tx, run.id)

    return await database.write(work)


def statuses(tx: Tx, run_id: str) -> dict[str, tuple[str, int, int]]:
    rows = steps.page_rows(tx, run_id)
    return {row.step_id: (row.status, row.n, row.generation) for row in rows}


async def test_a_run_goes_on_after_its_last_result(database: Database, world: World) -> None:
    run = await recorded(database, world, chain("a", "b", "c", "d"))
    await database.write(lambda tx: runs.dispatched(tx, run.id, 1))
    row = await database.write(lambda tx: resume(tx, world.org, run.id))
    assert (row.n, row.temporal_id, row.from_step) == (2, f"run/{run.id}/2", None)
    assert (row.error, row.output, row.completed_at, row.dispatched_at) == (None,) * 4
    assert (row.queued_at, row.started_at) == (run.queued_at, run.started_at)
    assert await database.read(lambda tx: statuses(tx, run.id)) == {
        "a": ("completed", 1, 1),
        "b": ("completed", 1, 1),
        "c": ("pending", 2, 1),
    }
    last = (await database.read(lambda tx: log(tx, run.id)))[-1]
    assert (last.type, last.data) == ("run_resumed", {"execution": 2})
    assert (await database.write(lambda tx: begin(tx, run.id, 1))).state == "over"
    opening = await database.write(lambda tx: begin(tx, run.id, 2))
    assert opening.facts is not None
    found = {step: fact.status for step, fact in opening.facts.steps.items()}
    assert found == {"a": "completed", "b": "completed", "c": "pending"}
    assert not opening.facts.parked
    again = await database.write(lambda tx: begin(tx, run.id, 2))
    assert again == opening


async def test_a_run_goes_on_from_a_step(database: Database, world: World) -> None:
    rescue: JsonValue = {"id": "rescue", "type": "transform", "config": {}}
    run = await recorded(database, world, [*chain("a", "b", "c", catch_step="rescue"), rescue])
    row = await database.write(lambda tx: resume(tx, world.org, run.id, "b"))
    assert row.from_step == "b"
    # What has completed and is run again on purpose is so in a new generation.
    assert await database.read(lambda tx: statuses(tx, run.id)) == {
        "a": ("completed", 1, 1),
        "b": ("pending", 2, 2),
        "c": ("pending", 2, 1),
        "rescue": ("pending", 2, 2),
    }
    last = (await database.read(lambda tx: log(tx, run.id)))[-1]
    assert last.data == {"execution": 2, "from_step": "b"}


@pytest.mark.parametrize(("step", "error"), [("nowhere", Invalid), ("d", Conflict)])
async def test_a_step_that_a_run_cannot_go_on_from(
    database: Database, world: World, step: str, error: type[Exception]
) -> None:
    run = await recorded(database, world, chain("a", "b", "c", "d"))
    before = await database.read(lambda tx: (statuses(tx, run.id), log(tx, run.id)))
    with pytest.raises(error, match=step):
        await database.write(lambda tx: resume(tx, world.org, run.id, step))
    assert await database.read(lambda tx: seen(tx, run.id)) == run
    assert await database.read(lambda tx: (statuses(tx, run.id), log(tx, run.id))) == before


async def test_a_wait_goes_on_over_a_pause(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.finish(tx, StepCall(run=run.id, step="a"), Sleep(wake_at=7))
        executions.close_execution(tx, run.id, 1, RunStatus.PAUSED, PLACES)
        return resume(tx, world.org, run.id)

    run = await database.write(work)
    opening = await database.write(lambda tx: begin(tx, run.id, 2))
    assert opening.facts is not None
    fact = opening.facts.steps["a"]
    assert (fact.status, fact.sleeping, fact.wake_at) == (StepStatus.WAITING, True, 7)
    assert await database.read(lambda tx: statuses(tx, run.id)) == {"a": ("waiting", 1, 1)}
