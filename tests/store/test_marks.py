"""What is written of steps without an activity of theirs: marks, ends, resets."""

import pytest

from engine.book import Entry
from engine.call import StepCall
from engine.facts import Failure
from engine.lifecycle import StepStatus
from engine.outcomes import Done, Each, Skip, Sleep
from store import journal, steps
from store.clock import SECOND, now
from store.database import Database, Tx
from store.runs import RunRow
from store.steps import StepRow
from tests.store.world import World, log

BAD = Failure(code="bad", message="Bad.")


def row(tx: Tx, run: RunRow, step: str, iteration: str = "") -> StepRow:
    return steps.some(tx, run.id, {step: iteration})[step]


def fill(tx: Tx, run: RunRow) -> None:
    """A step in every state, each named after it."""
    began = journal.Attempted("worker-1", now() - 90 * SECOND, begun=False)
    journal.begin(tx, StepCall(run=run.id, step="running"), "worker-1", 1)
    journal.finish(tx, StepCall(run=run.id, step="asleep"), Sleep(wake_at=7), began)
    journal.finish(tx, StepCall(run=run.id, step="loop"), Each(count=1, items=[1]), began)
    journal.fail(tx, StepCall(run=run.id, step="retry", final=False), BAD, began)
    journal.finish(tx, StepCall(run=run.id, step="item", iteration=[0]), Sleep(wake_at=7), began)
    journal.finish(tx, StepCall(run=run.id, step="done"), Done(output=1), began)
    journal.finish(tx, StepCall(run=run.id, step="skipped"), Skip(reason="No."), began)
    journal.fail(tx, StepCall(run=run.id, step="failed"), BAD, began)


MARKS = [
    Entry(step="fresh", status=StepStatus.SKIPPED, reason="Not taken."),
    Entry(step="fresh", iteration=[4, 2], status=StepStatus.CANCELLED, reason="Too late."),
    Entry(step="asleep", status=StepStatus.COMPLETED),
    Entry(step="retry", status=StepStatus.FAILED, reason="Another step failed."),
    Entry(step="running", status=StepStatus.CANCELLED, reason="Another step failed."),
    Entry(step="failed", status=StepStatus.SKIPPED, reason="Not taken this time."),
]


async def test_what_marks_leave(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    before = await database.read(lambda tx: len(log(tx, run.id)))
    await database.write(lambda tx: journal.mark(tx, run.id, 1, MARKS))

    def check(tx: Tx) -> None:
        reasons = {"fresh": "Not taken.", "running": "Another step failed."}
        for entry in MARKS:
            place = ".".join(map(str, entry.iteration))
            found = row(tx, run, entry.step, place)
            assert found.status is entry.status
            assert found.completed_at is not None
            assert found.wake_at is None
        for step, reason in reasons.items():
            assert row(tx, run, step).error == {"reason": reason}
        assert row(tx, run, "fresh").outcome == Skip(unmet=True)
        # The failure that it was waiting with is what it has failed with.
        assert row(tx, run, "retry").error == {"code": "bad", "message": "Bad."}
        woken = row(tx, run, "asleep")
        assert woken.outcome == Done()
        assert isinstance(woken.output, dict)
        assert 90 <= woken.output["waited_seconds"] < 1_000
        told = [(event.type, event.step_id, event.iteration) for event in log(tx, run.id)]
        assert told[before:] == [
            ("step_skipped", "fresh", ""),
            ("step_cancelled", "fresh", "4.2"),
            ("step_completed", "asleep", ""),
            ("step_failed", "retry", ""),
            ("step_cancelled", "running", ""),
            ("step_skipped", "failed", ""),
        ]
        assert log(tx, run.id)[before + 3].data["will_retry"] is False

    await database.read(check)


async def test_marks_repeated_change_nothing(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    await database.write(lambda tx: journal.mark(tx, run.id, 1, MARKS))

    def all_of(tx: Tx) -> tuple[object, object]:
        rows = [row(tx, run, entry.step, ".".join(map(str, entry.iteration))) for entry in MARKS]
        return rows, log(tx, run.id)

    before = await database.read(all_of)
    for again in (MARKS, MARKS[::-1], MARKS[3:]):
        await database.write(lambda tx, again=again: journal.mark(tx, run.id, 1, again))
    assert await database.read(all_of) == before


@pytest.mark.parametrize("status", ["completed", "skipped", "cancelled", "failed"])
async def test_a_mark_does_not_undo_a_result(
    database: Database, world: World, status: StepStatus
) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    before = await database.read(lambda tx: (row(tx, run, "done"), row(tx, run, "skipped")))
    told = await database.read(lambda tx: log(tx, run.id))
    marks = [Entry(step=step, status=StepStatus(status)) for step in ("done", "skipped")]
    await database.write(lambda tx: journal.mark(tx, run.id, 1, marks))
    after = await database.read(lambda tx: (row(tx, run, "done"), row(tx, run, "skipped")))
    assert after == before
    assert await database.read(lambda tx: log(tx, run.id)) == told
    newer = [mark.model_copy(update={"generation": 2}) for mark in marks]
    await database.write(lambda tx: journal.mark(tx, run.id, 1, newer))
    assert (await database.read(lambda tx: row(tx, run, "done"))).status == status


async def test_what_an_end_leaves_unfinished_is_cancelled(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    before = await database.read(lambda tx: len(log(tx, run.id)))
    for _ in range(2):
        await database.write(lambda tx: journal.give_up(tx, run.id, 1))

    def check(tx: Tx) -> None:
        unfinished = [("running", ""), ("asleep", ""), ("loop", ""), ("retry", ""), ("item", "0")]
        for step, place in unfinished:
            found = row(tx, run, step, place)
            assert found.status is StepStatus.CANCELLED
            assert found.completed_at is not None
            # It has to be asked again, should the run be resumed.
            assert (found.outcome, found.wake_at) == (None, None)
        for step, status in (("done", "completed"), ("skipped", "skipped"), ("failed", "failed")):
            assert row(tx, run, step).status == status
        told = log(tx, run.id)[before:]
        assert {event.type for event in told} == {"step_cancelled"}
        assert sorted((str(event.step_id), event.iteration) for event in told) == sorted(unfinished)

    await database.read(check)


async def test_an_older_execution_gives_nothing_up_of_a_newer_one(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    await database.write(lambda tx: journal.reset(tx, run.id, 2, {"running": 1, "asleep": 1}))
    found = await database.read(lambda tx: row(tx, run, "running"))
    assert (found.status, found.n) == (StepStatus.PENDING, 2)
    await database.write(lambda tx: journal.give_up(tx, run.id, 0))
    assert (await database.read(lambda tx: row(tx, run, "loop"))).status is StepStatus.WAITING


async def test_a_step_that_is_reset_is_as_new(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: fill(tx, run))
    large = StepCall(run=run.id, step="large")
    await database.write(lambda tx: journal.finish(tx, large, Done(output="x" * 70_000)))
    kept = await database.read(lambda tx: row(tx, run, "item", "0"))
    again = {"done": 2, "large": 2, "failed": 1, "asleep": 1, "item": 2, "never ran": 1}
    await database.write(lambda tx: journal.reset(tx, run.id, 2, again))

    def check(tx: Tx) -> None:
        for step in ("done", "large", "failed", "asleep"):
            found = row(tx, run, step)
            assert (found.n, found.generation) == (2, again[step])
            assert (found.status, found.outcome, found.error) == ("pending", None, None)
            assert (found.output, found.output_size, found.output_inline) == (None, 0, True)
            assert (found.wake_at, found.started_at, found.completed_at) == (None, None, None)
        assert row(tx, run, "item", "0") == kept
        assert steps.some(tx, run.id, {"never ran": ""}) == {}

    await database.read(check)
