"""What the rows and events of steps say after each thing that can happen to a step."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic import JsonValue

from activities.registry import catalog
from engine.book import Entry
from engine.call import StepCall
from engine.errors import Conflict, NotFound
from engine.facts import Failure
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Await, Branch, Done, Each, Outcome, Skip, Sleep
from engine.usage import Usage
from store import executions, journal, steps
from store.database import Database, Tx
from store.journal import Attempted
from store.runs import RunRow
from store.steps import StepRow
from tests.store.world import PLACES, World, begin, log

BAD = Failure(code="bad", message="Bad: é\ud800\0.")
LOST = Failure(code="bad", message="Bad.", retryable=False)
ERROR = {"code": "bad", "message": BAD.message}
MINE = Attempted("worker-1", 1_000, begun=False)
Write = Callable[[Tx, StepCall], None]


def call(run: RunRow, step: str = "a", *iteration: int, **rest: Any) -> StepCall:
    return StepCall(run=run.id, n=run.n, step=step, iteration=list(iteration), **rest)


def row(tx: Tx, run: RunRow, step: str = "a", iteration: str = "") -> StepRow:
    return steps.some(tx, run.id, {step: iteration})[step]


def told(tx: Tx, run: RunRow, since: int = 2) -> list[tuple[str, str | None, str, Any]]:
    """What was told after the run was queued and started."""
    return [
        (event.type.removeprefix("step_"), event.step_id, event.iteration, event.data)
        for event in log(tx, run.id)[since:]
    ]


def doing(outcome: Outcome) -> Write:
    return lambda tx, asked: journal.finish(tx, asked, outcome)


def failing(tx: Tx, asked: StepCall) -> None:
    journal.fail(tx, asked, BAD)


def beginning(tx: Tx, asked: StepCall) -> None:
    journal.begin(tx, asked, "worker-2", 2_000)


WRITES: dict[str, tuple[Write, StepStatus]] = {
    "begin": (beginning, StepStatus.RUNNING),
    "done": (doing(Done(output={"second": True})), StepStatus.COMPLETED),
    "branch": (doing(Branch(untaken=["b"], output=True)), StepStatus.COMPLETED),
    "skip": (doing(Skip(reason="second")), StepStatus.SKIPPED),
    "each": (doing(Each(count=1, items=[1])), StepStatus.WAITING),
    "sleep": (doing(Sleep(wake_at=2.5)), StepStatus.WAITING),
    "await": (doing(Await(interval=1, until=2.5)), StepStatus.WAITING),
    "fail": (failing, StepStatus.FAILED),
}


@pytest.mark.parametrize(
    ("outcome", "status", "columns", "event"),
    [
        (Done(output=[1, "é"]), "completed", {"output": [1, "é"], "output_size": 8}, "completed"),
        (Done(), "completed", {"output": None, "output_size": 4}, "completed"),
        (Branch(untaken=["b"], output=True), "completed", {"output": True}, "completed"),
        (Skip(reason="Not now."), "skipped", {"error": {"reason": "Not now."}}, "skipped"),
        (Each(count=2, items=[1, 2]), "waiting", {}, ("waiting", {"items": 2})),
        (Each(), "waiting", {}, None),
        (Sleep(wake_at=7.5), "waiting", {"wake_at": 7_500_000}, ("waiting", {"until": 7_500_000})),
        (Await(interval=3, until=9), "waiting", {"wake_at": 9_000_000}, "waiting"),
    ],
)
async def test_what_an_answer_leaves(
    database: Database,
    world: World,
    outcome: Outcome,
    status: str,
    columns: dict[str, JsonValue],
    event: str | tuple[str, JsonValue] | None,
) -> None:
    run = await database.write(world.begun)
    asked = call(run, "a", 3, 0, generation=2, attempt=3)
    await database.write(lambda tx: journal.finish(tx, asked, outcome, MINE))
    found = await database.read(lambda tx: row(tx, run, "a", "3.0"))
    bare = outcome.model_validate(outcome.model_dump())
    assert (found.status, found.outcome) == (status, bare)
    assert (found.n, found.generation, found.attempt) == (1, 2, 3)
    assert (found.worker, found.started_at) == ("worker-1", 1_000)
    assert (found.completed_at is None) == (status == "waiting")
    for name, value in columns.items():
        assert getattr(found, name) == value, name
    events = await database.read(lambda tx: told(tx, run))
    expected = [] if isinstance(outcome, Skip) else [("started", {"attempt": 3})]
    if isinstance(event, tuple):
        expected.append(event)
    elif event is not None:
        expected.append((event, events[-1][3]))
    assert [(type, data) for type, _, _, data in events] == expected
    assert {(step, iteration) for _, step, iteration, _ in events} == {("a", "3.0")}
    if event == "completed":
        assert events[-1][3] == {"output": found.output, "output_size": found.output_size}


async def test_an_attempt_from_its_beginning_to_its_end(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: beginning(tx, call(run)))
    found = await database.read(lambda tx: row(tx, run))
    assert (found.status, found.worker, found.started_at) == ("running", "worker-2", 2_000)
    begun = Attempted("worker-2", 2_000, begun=True)
    await database.write(lambda tx: journal.finish(tx, call(run), Done(output=1), begun))
    assert [event[0] for event in await database.read(lambda tx: told(tx, run))] == [
        "started",
        "completed",
    ]
    # However early it began, its event is not before the last one.
    before, started = (await database.read(lambda tx: log(tx, run.id)))[1:3]
    assert started.at == before.at


@pytest.mark.parametrize(
    ("failure", "final", "status"),
    [(BAD, False, "waiting"), (BAD, True, "failed"), (LOST, False, "failed")],
)
async def test_a_failure_is_the_last_one_or_not(
    database: Database, world: World, failure: Failure, final: bool, status: str
) -> None:
    run = await database.write(world.begun)
    asked = call(run, attempt=2, final=final)
    await database.write(lambda tx: journal.fail(tx, asked, failure, MINE))
    found = await database.read(lambda tx: row(tx, run))
    error = {"code": "bad", "message": failure.message}
    assert (found.status, found.error, found.outcome) == (status, error, None)
    assert (found.completed_at is None) == (status == "waiting")
    events = await database.read(lambda tx: told(tx, run))
    assert [event[0] for event in events] == ["started", "failed"]
    assert events[1][3] == {"error": error, "attempt": 2, "will_retry": status == "waiting"}


async def test_usage_stays_until_more_is_told(database: Database, world: World) -> None:
    """Of a failed attempt too, and past every write that has nothing to say of it."""
    run = await database.write(world.begun)
    asked = call(run, final=False)
    spent, more = Usage(1, 11, 7), Usage(3, 40, 20)
    used: list[Usage | None] = []
    for write in (
        lambda tx: journal.begin(tx, asked, "worker-1", 1_000),
        lambda tx: journal.fail(tx, asked, BAD, replace(MINE, usage=spent)),
        lambda tx: journal.begin(tx, asked, "worker-1", 1_000),
        lambda tx: journal.fail(tx, asked, BAD, MINE),
        lambda tx: journal.finish(tx, asked, Done(output=1), replace(MINE, usage=more)),
    ):
        await database.write(write)
        used.append((await database.read(lambda tx: row(tx, run))).usage)
    assert used == [None, spent, spent, spent, more]


async def test_the_first_result_stands_within_a_generation(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    for (first, (write_first, before)), (second, (write_second, after)) in product(
        WRITES.items(), repeat=2
    ):
        step = f"{first}_{second}"
        once, again = call(run, step), call(run, step, attempt=2)
        await database.write(lambda tx, write=write_first, once=once: write(tx, once))
        standing = await database.read(lambda tx, step=step: (row(tx, run, step), told(tx, run)))
        writing = database.write(lambda tx, write=write_second, again=again: write(tx, again))
        if before not in (StepStatus.COMPLETED, StepStatus.SKIPPED):
            await writing
            found = await database.read(lambda tx, step=step: row(tx, run, step))
            assert (found.status, found.attempt) == (after, 2)
            continue
        with pytest.raises(Conflict) as caught:
            await writing
        assert caught.value.stable_code == "superseded"
        found = await database.read(lambda tx, step=step: (row(tx, run, step), told(tx, run)))
        assert found == standing


async def test_a_newer_generation_leaves_nothing_of_the_older_one(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    past: dict[str, Write] = {
        "large": doing(Done(output="x" * 100_000)),
        "small": doing(Done(output=1)),
        "skipped": doing(Skip(reason="Not now.")),
        "asleep": doing(Sleep(wake_at=7)),
        "failed": failing,
    }

    def work(tx: Tx) -> None:
        for name, (write, status) in WRITES.items():
            write(tx, call(run, f"{name}_fresh", generation=2))
            fresh = row(tx, run, f"{name}_fresh")
            for before, older in past.items():
                step = f"{name}_{before}"
                older(tx, call(run, step))
                write(tx, call(run, step, generation=2))
                found = row(tx, run, step)
                assert (found.status, found.generation) == (status, 2)
                assert (found.completed_at is None) == (fresh.completed_at is None)
                same: dict[str, Any] = {"step_id": step, "updated_at": 0, "completed_at": 0}
                assert replace(found, **same) == replace(fresh, **same), step

    await database.write(work)
    await database.write(lambda tx: beginning(tx, call(run, "late", generation=2)))
    for write, _ in WRITES.values():
        with pytest.raises(Conflict):
            await database.write(lambda tx, write=write: write(tx, call(run, "late")))


async def test_an_older_execution_writes_nothing(database: Database, world: World) -> None:
    def resumed(tx: Tx) -> tuple[RunRow, RunRow]:
        old = world.begun(tx)
        failing(tx, call(old))
        executions.close_execution(tx, old.id, 1, RunStatus.FAILED, PLACES)
        new = executions.resume(tx, world.org, old.id, None, catalog())
        begin(tx, old.id, 2)
        return old, new

    old, new = await database.write(resumed)
    before = await database.read(lambda tx: (row(tx, old), log(tx, old.id)))
    for write, _ in WRITES.values():
        # A higher generation does not help it.
        for generation in (1, 2):
            with pytest.raises(Conflict):
                await database.write(
                    lambda tx, write=write, g=generation: write(tx, call(old, generation=g))
                )
    with pytest.raises(Conflict):
        await database.write(lambda tx: journal.mark(tx, old.id, 1, []))
    assert await database.read(lambda tx: (row(tx, old), log(tx, old.id))) == before
    await database.write(lambda tx: doing(Done(output=2))(tx, call(new)))
    found = await database.read(lambda tx: row(tx, old))
    assert (found.n, found.generation, found.output) == (2, 1, 2)


@pytest.mark.parametrize("ended", [None, *(status for status in RunStatus if status != "running")])
async def test_nothing_is_recorded_of_a_run_that_does_not_run(
    database: Database, world: World, ended: RunStatus | None
) -> None:
    def make(tx: Tx) -> RunRow:
        if ended is RunStatus.QUEUED:
            return world.run(tx)
        run = world.begun(tx)
        if ended is not None:
            executions.close_execution(tx, run.id, 1, ended, PLACES)
        return run

    run = await database.write(make)
    asked = call(run) if ended else call(run).model_copy(update={"run": "f" * 32})
    before = await database.read(lambda tx: log(tx, run.id))
    for write in (beginning, failing, doing(Done())):
        with pytest.raises(Conflict):
            await database.write(lambda tx, write=write: write(tx, asked))
    entry = Entry(step="a", status=StepStatus.SKIPPED)
    with pytest.raises(Conflict):
        await database.write(lambda tx: journal.mark(tx, asked.run, 1, [entry]))
    assert await database.read(lambda tx: (log(tx, run.id), steps.page_rows(tx, run.id))) == (
        before,
        [],
    )


async def test_steps_side_by_side_leave_no_gap_in_the_events(
    database: Database, url: str, world: World
) -> None:
    run = await database.write(world.begun)
    second = Database(url)

    async def one(step: str, through: Database) -> None:
        await through.write(lambda tx: beginning(tx, call(run, step)))
        await through.write(lambda tx: journal.fail(tx, call(run, step, final=False), BAD))
        again = call(run, step, attempt=2)

        def work(tx: Tx) -> None:
            journal.finish(tx, again, Done(), MINE)

        await through.write(work)
        with pytest.raises(Conflict):
            await database.write(work)

    await asyncio.gather(*(one(f"s{number}", second) for number in range(10)))
    await second.close()
    events = await database.read(lambda tx: told(tx, run))
    for number in range(10):
        mine = [type for type, step, _, _ in events if step == f"s{number}"]
        assert mine == ["started", "failed", "started", "completed"]
    assert len(events) == 40


async def test_what_no_step_has(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    await database.write(lambda tx: beginning(tx, call(run)))
    for step in ("a", "b"):
        with pytest.raises(NotFound):
            await database.read(lambda tx, step=step: steps.output(tx, run.id, step))
        assert await database.read(lambda tx, step=step: steps.items(tx, run.id, step, "")) == []
    assert await database.read(lambda tx: steps.last_completed(tx, run.id, ["b", "a"])) is None
