"""`run_workflow`: what it answers for a run in each state. Temporal is away meanwhile."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.registry import step_types
from activities.steps.run_workflow import ASK
from engine.call import StepCall
from engine.errors import StepError
from engine.facts import Failure
from engine.lifecycle import RunStatus
from engine.outcomes import Await, Done
from engine.parking import PARK
from store import children, executions, runs
from store.database import Database, Tx
from store.runs import RunRow
from tests.steps.stepping import Bench, bench
from tests.store.world import World, begin


@pytest.fixture
async def on(sqlite: Database) -> AsyncIterator[Bench]:
    async with bench(database=sqlite) as opened:
        yield opened


@pytest.fixture
async def world(sqlite: Database) -> World:
    return await sqlite.write(World.make)


@pytest.fixture
async def parent(sqlite: Database, world: World) -> RunRow:
    return await sqlite.write(world.begun)


async def asked(on: Bench, parent: RunRow, *, poll: bool = False, **config: Any) -> object:
    call = StepCall(run=parent.id, step="step", poll=poll)
    return await on.run("run_workflow", {"workflow": "onboard", **config}, call=call)


async def child_of(sqlite: Database, parent: RunRow) -> RunRow:
    child = await sqlite.read(lambda tx: children.find(tx, StepCall(run=parent.id, step="step")))
    assert child is not None
    return child


async def ended(
    sqlite: Database, child: RunRow, how: RunStatus, error: Failure | None = None
) -> None:
    def work(tx: Tx) -> None:
        begin(tx, child.id)
        executions.close_execution(tx, child.id, 1, how, 9, output={"n": 7}, error=error)

    await sqlite.write(work)


async def test_it_starts_a_run_and_waits_for_it(
    on: Bench, sqlite: Database, parent: RunRow
) -> None:
    answer = await asked(on, parent, input={"a": [1]})
    child = await child_of(sqlite, parent)
    assert answer == Await(interval=ASK, child=child.id)
    assert (child.status, child.input, child.awaited) == (RunStatus.QUEUED, {"a": [1]}, True)
    # It was accepted, and whoever sweeps starts it.
    swept = await sqlite.read(lambda tx: runs.undispatched(tx, child.updated_at + 1, 9))
    assert child.id in {run.id for run in swept}
    assert await asked(on, parent, poll=True) == answer


async def test_it_does_not_wait_when_it_is_told_so(
    on: Bench, sqlite: Database, parent: RunRow
) -> None:
    answer = await asked(on, parent, wait=False)
    child = await child_of(sqlite, parent)
    assert answer == Done(output={"run_id": f"run_{child.id}"})
    assert not child.awaited
    await ended(sqlite, child, RunStatus.FAILED)
    assert await asked(on, parent, wait=False) == answer


async def test_its_output_is_that_of_the_run(on: Bench, sqlite: Database, parent: RunRow) -> None:
    await asked(on, parent)
    await ended(sqlite, await child_of(sqlite, parent), RunStatus.COMPLETED)
    for poll in (True, False):
        assert await asked(on, parent, poll=poll) == Done(output={"n": 7})


@pytest.mark.parametrize(
    ("how", "code", "retryable"),
    [(RunStatus.FAILED, "child_failed", True), (RunStatus.CANCELLED, "child_cancelled", False)],
)
async def test_it_fails_with_the_run(
    on: Bench, sqlite: Database, parent: RunRow, how: RunStatus, code: str, retryable: bool
) -> None:
    await asked(on, parent)
    child = await child_of(sqlite, parent)
    await ended(sqlite, child, how, Failure(code="bad", message="It went wrong.", step="a"))
    with pytest.raises(StepError) as caught:
        await asked(on, parent, poll=True)
    assert (caught.value.stable_code, caught.value.retryable) == (code, retryable)
    assert f"run_{child.id}" in caught.value.message
    assert ("It went wrong." in caught.value.message) == (how is RunStatus.FAILED)


async def test_a_run_that_was_deleted_is_not_waited_for(on: Bench, parent: RunRow) -> None:
    with pytest.raises(StepError) as caught:
        await asked(on, parent, poll=True)
    assert (caught.value.stable_code, caught.value.retryable) == ("child_deleted", False)


async def test_a_workflow_that_is_not_there(on: Bench, parent: RunRow) -> None:
    with pytest.raises(StepError) as caught:
        await asked(on, parent, workflow="Onboard")
    assert caught.value.stable_code == "workflow_not_found"


def test_it_asks_so_seldom_that_the_run_parks_at_once() -> None:
    assert ASK >= PARK


@pytest.mark.parametrize("config", [{}, {"workflow": ""}, {"workflow": "a", "input": [1]}])
def test_what_is_no_configuration(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        step_types()["run_workflow"].config.model_validate(config)
