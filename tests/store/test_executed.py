"""What a run has executed: a list that has what has begun, and is as long as it is counted."""

from dataclasses import replace

import pytest
from pydantic import JsonValue

from engine.book import Entry
from engine.call import StepCall
from engine.errors import Conflict
from engine.facts import Failure
from engine.lifecycle import StepStatus
from engine.outcomes import Artifact, Done, Skip
from store import executed, journal, runs
from store.database import Database, Tx
from store.journal import Attempted
from store.runs import RunRow
from tests.store.world import World, begin

BAD = Failure(code="bad", message="Bad.", retryable=False)


def call(run: RunRow, step: str, *iteration: int) -> StepCall:
    return StepCall(run=run.id, n=run.n, step=step, iteration=list(iteration))


def at(second: int) -> Attempted:
    return Attempted("worker", second * 1_000_000, begun=True)


def play(tx: Tx, world: World) -> RunRow:
    run = world.begun(tx)
    journal.finish(tx, call(run, "second"), Done(output=1), at(2))
    journal.finish(tx, call(run, "first"), Done(output=1), at(1))
    journal.fail(tx, call(run, "third"), BAD, at(3))
    journal.finish(tx, call(run, "declined"), Skip(reason="Nobody to ask."), at(4))
    journal.finish(tx, call(run, "unmet"), Skip(unmet=True, reason="no"), at(4))
    journal.begin(tx, call(run, "going"), "worker", 6_000_000)
    journal.finish(tx, call(run, "inside", 0), Done(), at(5))
    left_out = [
        Entry(step="branch", status=StepStatus.SKIPPED, reason="Not taken."),
        Entry(step="inside", iteration=[1], status=StepStatus.SKIPPED, reason="Not taken."),
    ]
    journal.mark(tx, run.id, 1, left_out)
    journal.finish(tx, call(run, "again"), Done(output=1), at(7))
    journal.reset(tx, run.id, 1, {"again": 2})
    return run


async def test_what_has_begun_is_listed_in_its_order(database: Database, world: World) -> None:
    run = await database.write(lambda tx: play(tx, world))
    other = await database.write(world.run)
    found = await database.read(lambda tx: executed.steps_of(tx, run))
    assert [(step.step_id, step.iteration, step.status) for step in found] == [
        ("first", "", StepStatus.COMPLETED),
        ("second", "", StepStatus.COMPLETED),
        ("third", "", StepStatus.FAILED),
        ("declined", "", StepStatus.SKIPPED),
        ("inside", "0", StepStatus.COMPLETED),
        ("going", "", StepStatus.RUNNING),
    ]
    assert [step.created_at for step in found] == [n * 1_000_000 for n in range(1, 7)]
    assert found[2].error == {"code": "bad", "message": "Bad."}
    assert found[3].error == {"reason": "Nobody to ask."}
    counted = await database.read(lambda tx: executed.counts(tx, [run.id, other.id]))
    assert counted == {run.id: 6, other.id: 0}


async def test_the_inside_of_loops_is_bounded(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executed, "MOST_INSIDE", 3)

    def many(tx: Tx) -> RunRow:
        run = world.begun(tx)
        for index in range(5):
            journal.finish(tx, call(run, "inside", index), Done(), at(5 - index))
        journal.finish(tx, call(run, "after"), Done(), at(9))
        return run

    run = await database.write(many)
    found = await database.read(lambda tx: executed.steps_of(tx, run))
    # Those that began first, and what comes after the loop all the same.
    assert [step.iteration for step in found] == ["4", "3", "2", ""]
    assert await database.read(lambda tx: executed.counts(tx, [run.id])) == {run.id: 4}


async def test_artifacts_are_those_of_the_step(database: Database, world: World) -> None:
    used = Artifact(artifact_type="vendor", id="cbvndr_1", role="trigger")
    made = Artifact(artifact_type="assessment", id="cbqsrw_2", role="result")

    def make(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.finish(tx, call(run, "inside", 0), Done(artifacts=[used, made]), at(1))
        journal.finish(tx, call(run, "plain"), Done(), at(2))
        return run

    run = await database.write(make)
    found = await database.read(lambda tx: executed.steps_of(tx, run))
    assert [step.artifacts for step in found] == [[used, made], []]


async def test_artifacts_are_those_of_the_latest_generation(
    database: Database, world: World
) -> None:
    made = Artifact(artifact_type="assessment", id="cbqsrw_2", role="result")

    def redo(tx: Tx) -> RunRow:
        run = world.begun(tx)
        journal.finish(tx, call(run, "a"), Done(artifacts=[made]), at(1))
        # What comes again in the same generation changes nothing.
        with pytest.raises(Conflict):
            journal.finish(tx, call(run, "a"), Done(), at(2))
        return run

    run = await database.write(redo)
    assert (await database.read(lambda tx: executed.steps_of(tx, run)))[0].artifacts == [made]
    again = call(run, "a").model_copy(update={"generation": 2})
    await database.write(lambda tx: journal.fail(tx, again, BAD, at(3)))
    assert (await database.read(lambda tx: executed.steps_of(tx, run)))[0].artifacts == []


async def test_the_record_that_started_the_run_is_an_artifact_of_every_step(
    database: Database, world: World
) -> None:
    entity: dict[str, JsonValue] = {"id": "ab", "type": "Vendor", "fields": {}}
    vendor = Artifact(artifact_type="vendor", id="cbvndr_ab", role="trigger")
    made = Artifact(artifact_type="thing", id="1", role="result")

    def make(tx: Tx, event_id: str | None) -> RunRow:
        new = replace(world.new_run({"event": None, "entity": entity}), event_id=event_id)
        run = runs.accept(tx, new)
        begin(tx, run.id)
        journal.finish(tx, call(run, "first"), Done(artifacts=[vendor, made]), at(1))
        journal.finish(tx, call(run, "second"), Done(artifacts=[made]), at(2))
        journal.fail(tx, call(run, "third"), BAD, at(3))
        return run

    started = await database.write(lambda tx: make(tx, "e"))
    found = await database.read(lambda tx: executed.steps_of(tx, started))
    assert [step.artifacts for step in found] == [[vendor, made], [vendor, made], [vendor]]
    # What a caller has put into the input is no record that has started anything.
    other = await database.write(lambda tx: make(tx, None))
    found = await database.read(lambda tx: executed.steps_of(tx, other))
    assert [step.artifacts for step in found] == [[vendor, made], [made], []]
