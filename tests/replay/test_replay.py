"""Recorded histories go through today's interpreter, and a changed one is caught."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from engine.call import StepCall
from engine.plan import PlannedStep
from tests.replay.record import FOLDER, OWN, RECORDED
from workflows import dispatch
from workflows.batch import BatchWorkflow
from workflows.call import CallWorkflow
from workflows.contract import DATA_CONVERTER
from workflows.run import RunWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))


def replayer(runner: WorkflowRunner | None = None) -> Replayer:
    return Replayer(
        workflows=[RunWorkflow, BatchWorkflow, CallWorkflow],
        workflow_runner=runner or UnsandboxedWorkflowRunner(),
        data_converter=DATA_CONVERTER,
    )


def history(path: Path) -> WorkflowHistory:
    kept = json.loads(path.read_text())
    return WorkflowHistory.from_json(kept["id"], kept["history"])


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Collect what an ended replay leaves here, and not in the middle of whatever comes next."""
    yield
    gc.collect()


def test_everything_is_recorded() -> None:
    found = {path.stem.rpartition("-")[0] for path in HISTORIES}
    assert found == {name.replace("/", "-") for name in [*RECORDED, *OWN]}


def test_nothing_of_a_user_is_in_a_history() -> None:
    """Configurations, inputs and outputs stay in the store."""
    for path in HISTORIES:
        decoded = "".join(
            payload.data.decode()
            for event in history(path).events
            for payload in event.workflow_execution_started_event_attributes.input.payloads
        )
        assert "http://" not in path.read_text() + decoded


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_history_is_replayed(path: Path) -> None:
    await replayer().replay_workflow(history(path))


async def test_a_history_is_replayed_in_the_sandbox() -> None:
    """The sandbox refuses clocks, randomness and I/O: the interpreter uses none of them."""
    for name in (
        "loops-nested-1",
        "own-paused-1",
        "own-cancelled-1",
        "own-scheduled-1",
        "own-called-2",
        "own-batch-1",
        "own-batch-3",
        "own-with_children-1",
    ):
        await replayer(SandboxedWorkflowRunner()).replay_workflow(history(FOLDER / f"{name}.json"))


async def test_an_interpreter_that_does_something_else_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted change: what began as a local activity is an ordinary one."""

    async def ordinary(planned: PlannedStep, call: StepCall) -> object:
        return await dispatch._ordinary(planned, call)

    monkeypatch.setattr(dispatch, "step", ordinary)
    for name in ("order-linear-1", "loops-nested-1", "own-paused-2", "own-handed_over-1"):
        with pytest.raises(NondeterminismError):
            await replayer().replay_workflow(history(FOLDER / f"{name}.json"))
