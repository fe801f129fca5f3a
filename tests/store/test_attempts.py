"""Every attempt of a step, as the event log tells it."""

from typing import Any

from engine.book import Entry
from engine.call import StepCall
from engine.facts import Failure
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Await, Done, Skip, Sleep
from store import executions, journal
from store.attempts import Attempt, attempts
from store.clock import HOUR, now
from store.database import Database, Tx
from store.journal import Attempted
from store.runs import RunRow
from tests.store.test_executions import resume
from tests.store.world import PLACES, World, begin

BAD = Failure(code="bad", message="Bad.")
#: Later than all that the tests write before it: no event is kept as earlier than the last one.
AT = now() + HOUR


def call(run: RunRow, attempt: int = 1, **more: Any) -> StepCall:
    return StepCall(run=run.id, n=run.n, step="a", attempt=attempt, **more)


def by(worker: str, at: int) -> Attempted:
    return Attempted(worker, at, begun=False)


def short(attempt: Attempt) -> tuple[int, int, str, bool]:
    status = str(attempt.status) if attempt.status else "lost"
    return attempt.attempt, attempt.execution, status, attempt.will_retry


async def told(database: Database, run: RunRow, iteration: str = "") -> list[Attempt]:
    return await database.read(lambda tx: attempts(tx, run.id, "a", iteration))


async def test_attempts_over_retries_and_executions(database: Database, world: World) -> None:
    def first(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.fail(tx, call(run, final=False), BAD, by("w1", AT + 1_000))
        journal.begin(tx, call(run, 2), "w1", AT + 2_000)
        # The worker was lost, and another one makes the same attempt.
        journal.begin(tx, call(run, 2), "w2", AT + 3_000)
        journal.fail(tx, call(run, 2), BAD, Attempted("w2", AT + 3_000, begun=True))
        executions.close_execution(tx, run.id, 1, RunStatus.FAILED, PLACES, error=BAD)
        return resume(tx, world.org, run.id)

    run = await database.write(first)

    def second(tx: Tx) -> None:
        begin(tx, run.id, 2)
        journal.finish(tx, call(run), Done(output=1), by("w3", AT + 9_000))

    await database.write(second)
    found = await told(database, run)
    assert [short(attempt) for attempt in found] == [
        (1, 1, "failed", True),
        (2, 1, "lost", False),
        (2, 1, "failed", False),
        (1, 2, "completed", False),
    ]
    assert [attempt.started_at - AT for attempt in found] == [1_000, 2_000, 3_000, 9_000]
    assert found[0].error == {"code": "bad", "message": "Bad."}
    assert found[1].ended_at is not None
    assert found[1].error is None
    # The row knows of its own execution alone.
    assert [(attempt.generation, attempt.worker) for attempt in found] == [
        (None, None),
        (None, None),
        (None, None),
        (1, "w3"),
    ]


async def test_an_attempt_under_way(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.begin(tx, call(run), "w1", 1_000)
        return run

    run = await database.write(work)
    (attempt,) = await told(database, run)
    assert short(attempt) == (1, 1, "running", False)
    assert (attempt.ended_at, attempt.worker, attempt.generation) == (None, "w1", 1)
    assert await told(database, run, "0") == []
    await database.write(
        lambda tx: executions.close_execution(tx, run.id, 1, RunStatus.CANCELLED, PLACES)
    )
    (attempt,) = await told(database, run)
    assert short(attempt) == (1, 1, "cancelled", False)


async def test_a_wait_is_one_attempt(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        waits = Await(interval=1, until=9)
        journal.finish(tx, call(run), waits, by("w1", 1_000))
        journal.finish(tx, call(run, poll=True), Done(), Attempted("w2", 1_000, begun=True))
        return run

    run = await database.write(work)
    (attempt,) = await told(database, run)
    assert short(attempt) == (1, 1, "completed", False)
    assert attempt.worker == "w2"


async def test_a_sleep_shows_as_waiting(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.finish(tx, call(run), Sleep(wake_at=7), by("w1", 1_000))
        return run

    run = await database.write(work)
    (attempt,) = await told(database, run)
    assert (attempt.status, attempt.ended_at) == (StepStatus.WAITING, None)


async def test_what_was_never_attempted_has_no_attempts(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.finish(tx, call(run), Skip(reason="no"), by("w1", 1_000))
        return run

    assert await told(database, await database.write(work)) == []


async def test_a_worker_that_was_lost_for_good(database: Database, world: World) -> None:
    lost = Failure(code="worker_lost", message="Lost.", retryable=False)

    def work(tx: Tx) -> tuple[RunRow, RunRow]:
        runs = world.begun(tx), world.begun(tx)
        journal.begin(tx, call(runs[0]), "w1", 1_000)
        for run in runs:
            entry = Entry(step="a", status=StepStatus.FAILED, failure=lost)
            journal.mark(tx, run.id, 1, [entry])
        return runs

    for run in await database.write(work):
        (attempt,) = await told(database, run)
        assert short(attempt) == (1, 1, "failed", False)
        assert attempt.error == {"code": "worker_lost", "message": "Lost."}
