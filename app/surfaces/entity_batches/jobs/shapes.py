"""Turns runs, batches and lanes into what is answered about jobs."""

import csv
import io
from collections.abc import Sequence
from typing import cast

from app.envelope import to_json
from app.services.jobs import Job, JobView, state_of
from app.surfaces.entity_batches.jobs.logs import lines
from app.surfaces.entity_batches.jobs.schemas import (
    INTENTS,
    STATUSES,
    EntityStatus,
    ErrorBudgetOut,
    JobErrorOut,
    JobFullOut,
    JobOut,
    JobStepOut,
    LaneErrorOut,
    LaneOut,
    NoteOut,
    ProgressOut,
    UsageOut,
)
from app.surfaces.entity_batches.wire import maybe_millis, millis
from engine.lifecycle import TERMINAL, RunStatus
from store.batches import BatchRow
from store.lanes import LaneRow
from store.runs import RunHead

#: The columns of the table of entities.
COLUMNS = (
    "entityId",
    "status",
    "stepId",
    "attempts",
    "errorCode",
    "errorMessage",
    "notes",
    "output",
    "startedAt",
    "completedAt",
)
#: A spreadsheet takes a cell that begins so for a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def progress(run: RunHead, batch: BatchRow | None) -> ProgressOut:
    """How far a run is; one that is over no entities counts as one; contracts §4.3."""
    if batch is None:
        return ProgressOut(
            total=1,
            completed=int(run.status is RunStatus.COMPLETED),
            failed=int(run.status is RunStatus.FAILED),
        )
    return ProgressOut(total=batch.total, completed=batch.completed, failed=batch.failed)


def started(run: RunHead) -> int | None:
    """When the run began; contracts B-q12."""
    return None if run.status is RunStatus.QUEUED else maybe_millis(run.started_at)


def completed(run: RunHead) -> int | None:
    """When the run was over; None until it is."""
    return maybe_millis(run.completed_at) if run.status in TERMINAL else None


def job_out(job: Job) -> JobOut:
    """A job, as in lists; contracts B-q14."""
    run, batch = job.run, job.batch
    return JobOut(
        id=run.id,
        name=run.workflow_name,
        type="workflow_run",
        category="ai",
        status=STATUSES[run.status],
        paused=run.status is RunStatus.PAUSED,
        progress=progress(run, batch),
        workflowId=run.workflow_id,
        retryOf=batch.retry_of if batch else None,
        createdAt=millis(run.created_at),
        startedAt=started(run),
        completedAt=completed(run),
    )


def job_full_out(view: JobView, now: int) -> JobFullOut:
    """A job with its log; `now` is in microseconds UTC."""
    run, batch = view.run, view.batch
    return JobFullOut(
        **job_out(view),
        runId=run.id,
        intent=INTENTS[run.intent] if run.intent else None,
        error=_error(run),
        estimatedCompletionAt=_estimate(run, batch, now),
        concurrency=batch.concurrency if batch else None,
        errorBudget=_budget(batch),
        usage=_usage(batch),
        steps=[
            JobStepOut(
                id=step_id, completed=step.completed, failed=step.failed, skipped=step.skipped
            )
            for step_id, step in view.steps.items()
        ],
        logs=lines(view.events),
    )


def _error(run: RunHead) -> JobErrorOut | None:
    if run.error is None:
        return None
    told = JobErrorOut(code=str(run.error["code"]), message=str(run.error["message"]))
    if run.error.get("step"):
        told["stepId"] = str(run.error["step"])
    return told


def _estimate(run: RunHead, batch: BatchRow | None, now: int) -> int | None:
    if batch is None or run.status is not RunStatus.RUNNING or run.intent is not None:
        return None
    return maybe_millis(batch.over_by(now))


def _usage(batch: BatchRow | None) -> UsageOut | None:
    used = batch.usage if batch else None
    if used is None:
        return None
    return UsageOut(
        requests=used.requests, inputTokens=used.input_tokens, outputTokens=used.output_tokens
    )


def _budget(batch: BatchRow | None) -> ErrorBudgetOut | None:
    if batch is None or batch.max_failures is None:
        return None
    return ErrorBudgetOut(maxFailures=batch.max_failures, onExceeded=batch.on_budget)


def lane_out(lane: LaneRow, *, over: bool) -> LaneOut:
    """An entity of a job; `over` when the job is."""
    return LaneOut(
        entityId=lane.entity_id,
        status=cast("EntityStatus", state_of(lane.status, over=over)),
        stepId=lane.step_id,
        attempts=lane.attempts,
        error=None
        if lane.error is None
        else LaneErrorOut(code=str(lane.error["code"]), message=str(lane.error["message"])),
        notes=[
            NoteOut(
                stepId=note.step_id,
                kind="skipped" if note.code is None else "failed",
                code=note.code,
                message=note.message,
            )
            for note in lane.notes
        ],
        output=lane.output,
        startedAt=maybe_millis(lane.started_at),
        completedAt=maybe_millis(lane.completed_at),
    )


def table_head() -> str:
    """The first line of the table of entities."""
    return _table([COLUMNS])


def table_rows(lanes: Sequence[LaneRow], *, over: bool) -> str:
    """Entities of a job as lines of CSV; `over` when the job is."""
    return _table([_cells(lane_out(lane, over=over)) for lane in lanes])


def _cells(lane: LaneOut) -> list[str]:
    error = lane["error"]
    values = (
        lane["entityId"],
        lane["status"],
        lane["stepId"],
        lane["attempts"],
        error and error["code"],
        error and error["message"],
        "; ".join(f"{note['stepId']} {note['kind']}: {note['message']}" for note in lane["notes"]),
        None if lane["output"] is None else to_json(lane["output"]).decode(),
        lane["startedAt"],
        lane["completedAt"],
    )
    return [_safe("" if value is None else str(value)) for value in values]


def _safe(cell: str) -> str:
    """The cell, which no spreadsheet carries out."""
    return f"'{cell}" if cell.startswith(_FORMULAS) else cell


def _table(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
