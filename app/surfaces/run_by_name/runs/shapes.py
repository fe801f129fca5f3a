"""Turns the rows of runs and steps into what is answered."""

from app.services.named_runs import NamedRun, NamedRuns
from app.surfaces.run_by_name.runs.schemas import (
    RUN_WORDS,
    STEP_WORDS,
    ArtifactOut,
    ExecutedStepOut,
    RunStartedOut,
    WorkflowRunHeadOut,
    WorkflowRunOut,
    WorkflowRunsOut,
    WorkflowRunSummaryOut,
)
from app.surfaces.run_by_name.wire import derived, maybe_seconds, seconds, spelled
from engine.lifecycle import TERMINAL, StepStatus
from store.executed import Executed
from store.runs import RunHead, RunRow

#: Characters of the message of a step.
_LONGEST_MESSAGE = 1_000
_CANCELED = "The step was canceled."


def started_out(row: RunRow) -> RunStartedOut:
    """A run that was accepted just now."""
    return RunStartedOut(
        workflow_run_id=spelled("cbwr_", row.id),
        workflow_name=row.workflow_name,
        status="started",
        started_at=seconds(row.created_at),
        input=row.input,
    )


def run_out(run: NamedRun) -> WorkflowRunOut:
    """A run with its steps, oldest first; contracts A-q10."""
    steps = sorted(run.steps, key=lambda step: (step.created_at, _step_id(run, step)))
    return WorkflowRunOut(
        **_head_out(run.row, run.name),
        steps=[_step_out(run, step) for step in steps],
    )


def runs_out(page: NamedRuns, limit: int, offset: int) -> WorkflowRunsOut:
    """A page of runs."""
    return WorkflowRunsOut(
        data=[
            WorkflowRunSummaryOut(
                **_head_out(row, page.names.get(row.workflow_id)), step_count=page.steps[row.id]
            )
            for row in page.rows
        ],
        total=page.total,
        limit=limit,
        offset=offset,
    )


def _head_out(row: RunHead, name: str | None) -> WorkflowRunHeadOut:
    return WorkflowRunHeadOut(
        workflow_run_id=spelled("cbwr_", row.id),
        workflow_name=name,
        workflow_definition_id=None if name is None else spelled("cbwd_", row.workflow_id),
        status=RUN_WORDS[row.status],
        started_at=seconds(row.created_at),
        completed_at=maybe_seconds(row.completed_at) if row.status in TERMINAL else None,
    )


def _step_out(run: NamedRun, step: Executed) -> ExecutedStepOut:
    outline = run.outlines.get(step.step_id)
    return ExecutedStepOut(
        step_id=_step_id(run, step),
        component_id=derived("cbwc_", run.row.workflow_id, step.step_id),
        component_name=outline.name if outline else None,
        action_type=outline.type if outline else None,
        status=STEP_WORDS.get(step.status),
        message=_message(step),
        artifacts=[
            ArtifactOut(artifact_type=made.artifact_type, id=made.id, role=made.role)
            for made in step.artifacts
        ],
        created_at=seconds(step.created_at),
        updated_at=seconds(step.updated_at),
    )


def _step_id(run: NamedRun, step: Executed) -> str:
    return derived("cbwrs_", run.row.id, step.step_id, step.iteration)


def _message(step: Executed) -> str | None:
    """Why it failed or was skipped."""
    error = step.error or {}
    match step.status:
        case StepStatus.FAILED:
            text = error.get("message")
        case StepStatus.SKIPPED:
            text = error.get("reason")
        case StepStatus.CANCELLED:
            text = _CANCELED
        case _:
            text = None
    return str(text)[:_LONGEST_MESSAGE] if text else None
