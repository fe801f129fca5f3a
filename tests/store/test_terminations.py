"""Terminating runs in every state, and deleting those that are over."""

import pytest
from sqlalchemy import func, select

from activities.registry import catalog
from engine.call import StepCall
from engine.errors import Conflict, NotFound
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Done, Sleep
from store import executions, idempotency, journal, runs, steps, terminations
from store.database import Database, Tx
from store.runs import RunRow
from store.tables import metadata
from tests.executions import execution
from tests.store.test_executions import put
from tests.store.world import PLACES, World, log, seen

Terminated = tuple[RunRow, list[executions.Execution]]
#: Whether an execution of the run may be open in Temporal.
OPEN = {"queued": 2, "admitted": 2, "running": 2, "pausing": 2, "cancelling": 2, "paused": 2}


def terminate(tx: Tx, world: World, run_id: str, limit: int = PLACES) -> Terminated:
    return terminations.terminate(tx, world.org, run_id, limit)


@pytest.mark.parametrize("state", OPEN)
async def test_terminate_ends_a_run_in_every_state(
    database: Database, world: World, state: str
) -> None:
    run = await database.write(lambda tx: put(tx, world, state))
    told = len(await database.read(lambda tx: log(tx, run.id)))
    after, handed = await database.write(lambda tx: terminate(tx, world, run.id))
    assert (after.status, after.intent, after.admitted) == ("cancelled", "terminate", False)
    assert after.completed_at is not None
    assert handed == []
    new = (await database.read(lambda tx: log(tx, run.id)))[told:]
    assert [(event.type, event.data["status"]) for event in new] == [("run_completed", "cancelled")]
    again, _ = await database.write(lambda tx: terminate(tx, world, run.id))
    assert again == after
    assert [row.id for row in await database.read(lambda tx: runs.with_intent(tx, 9))] == [run.id]
    # Nothing goes on before Temporal has let go of it.
    for refused in (
        lambda tx: executions.resume(tx, world.org, run.id, None, catalog()),
        lambda tx: terminations.delete(tx, world.org, run.id),
    ):
        with pytest.raises(Conflict, match="terminated"):
            await database.write(refused)
    await database.write(lambda tx: terminations.terminated(tx, run.id, 2))
    assert (await database.read(lambda tx: seen(tx, run.id))).intent == "terminate"
    await database.write(lambda tx: terminations.terminated(tx, run.id, 1))
    assert await database.read(lambda tx: runs.with_intent(tx, 9)) == []
    resumed = await database.write(
        lambda tx: executions.resume(tx, world.org, run.id, None, catalog())
    )
    assert (resumed.status, resumed.n) == ("queued", 2)


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_what_is_over_is_not_terminated(database: Database, world: World, state: str) -> None:
    run = await database.write(lambda tx: put(tx, world, state))
    if state == "cancelled":
        assert await database.write(lambda tx: terminate(tx, world, run.id)) == (run, [])
    else:
        with pytest.raises(Conflict, match=state):
            await database.write(lambda tx: terminate(tx, world, run.id))
    assert await database.read(lambda tx: seen(tx, run.id)) == run


async def test_a_terminated_run_closes_its_steps_and_hands_its_place_on(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> tuple[RunRow, RunRow]:
        run = world.begun(tx)
        journal.finish(tx, StepCall(run=run.id, step="a"), Done(output=1))
        journal.finish(tx, StepCall(run=run.id, step="b"), Sleep(wake_at=7))
        journal.begin(tx, StepCall(run=run.id, step="c", iteration=[3]), "worker", 1)
        return run, world.run(tx)

    run, waiting = await database.write(work)
    _, handed = await database.write(lambda tx: terminate(tx, world, run.id, limit=1))
    assert handed == [execution(waiting.id, 1)]
    wanted = {"a": "", "b": "", "c": "3"}
    rows = await database.read(lambda tx: steps.some(tx, run.id, wanted))
    assert {step: row.status for step, row in rows.items()} == {
        "a": StepStatus.COMPLETED,
        "b": StepStatus.CANCELLED,
        "c": StepStatus.CANCELLED,
    }
    told = (await database.read(lambda tx: log(tx, run.id)))[-3:]
    assert sorted(str(event.type) for event in told[:2]) == ["step_cancelled"] * 2
    assert told[2].type == "run_completed"
    # Whoever carried it out is too late, whatever it still says.
    for late in (
        lambda tx: executions.close_execution(tx, run.id, 1, RunStatus.COMPLETED, 1),
        lambda tx: executions.lost(tx, run.id, 1, "It was terminated.", 1),
    ):
        assert await database.write(late) == []
    with pytest.raises(Conflict):
        await database.write(
            lambda tx: journal.finish(tx, StepCall(run=run.id, step="b"), Done(output=1))
        )
    row = await database.read(lambda tx: seen(tx, run.id))
    assert (row.status, row.intent) == ("cancelled", "terminate")


@pytest.mark.parametrize("state", [*OPEN, "completed", "failed", "cancelled"])
async def test_a_run_is_deleted_when_it_is_over(
    database: Database, world: World, state: str
) -> None:
    def work(tx: Tx) -> RunRow:
        idempotency.reserve(tx, world.org, "endpoint", "key", "fingerprint")
        run = put(tx, world, "running")
        large = Done(output="x" * 100_000)
        journal.finish(tx, StepCall(run=run.id, step="a"), large)
        idempotency.remember(
            tx, world.org, "endpoint", "key", run_id=run.id, status_code=202, body=b"answer"
        )
        if state not in OPEN:
            executions.close_execution(tx, run.id, 1, RunStatus(state), PLACES)
        return run

    run = await database.write(work)
    other = await database.write(lambda tx: put(tx, world, "completed"))
    for org, run_id in ((world.other_org, run.id), (world.org, "f" * 32)):
        with pytest.raises(NotFound):
            await database.write(lambda tx, o=org, r=run_id: terminations.delete(tx, o, r))
        with pytest.raises(NotFound):
            await database.write(lambda tx, o=org, r=run_id: terminations.terminate(tx, o, r, 1))
    if state in OPEN:
        with pytest.raises(Conflict, match="over"):
            await database.write(lambda tx: terminations.delete(tx, world.org, run.id))
        assert (await database.read(lambda tx: seen(tx, run.id))).status == "running"
        return
    await database.write(lambda tx: terminations.delete(tx, world.org, run.id))
    with pytest.raises(NotFound):
        await database.read(lambda tx: runs.get(tx, world.org, run.id))
    left = {
        name: await database.read(
            lambda tx, table=table: tx.scalar(
                select(func.count()).select_from(table).where(table.c.run_id == run.id)
            )
        )
        for name, table in metadata.tables.items()
        # An assessment is more than the run that came with it.
        if "run_id" in table.c and name != "assessments"
    }
    gone = dict.fromkeys(("step_runs", "run_events", "blobs", "event_waits", "batches", "lanes"), 0)
    assert left == {**gone, "idempotency": 1}
    earlier = await database.write(
        lambda tx: idempotency.reserve(tx, world.org, "endpoint", "key", "fingerprint")
    )
    assert earlier is not None
    assert earlier.body == b"answer"
    assert await database.read(lambda tx: seen(tx, other.id)) == other
