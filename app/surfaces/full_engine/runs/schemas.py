"""What is taken and answered about runs."""

from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.full_engine.wire import In, Words
from engine.lifecycle import RunStatus, StepStatus

RunState = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
StepState = Literal["pending", "running", "completed", "failed", "skipped", "cancelled"]

#: contracts §4.3.
RUN_STATES: dict[RunStatus, RunState] = {
    RunStatus.QUEUED: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.PAUSED: "paused",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
STEP_STATES: dict[StepStatus, StepState] = {
    StepStatus.PENDING: "pending",
    StepStatus.RUNNING: "running",
    StepStatus.WAITING: "running",
    StepStatus.COMPLETED: "completed",
    StepStatus.FAILED: "failed",
    StepStatus.SKIPPED: "skipped",
    StepStatus.CANCELLED: "cancelled",
}


class RunIn(In):
    """What a run starts with."""

    input_data: dict[str, Any] = Field(default={})
    trigger: Words = "manual"


class ResumeIn(In):
    """Where to go on; without `from_step` after what is complete."""

    from_step: Words | None = None


class StartedOut(TypedDict):
    """A run that was accepted."""

    run_id: str


class RunErrorOut(TypedDict):
    """Why a run or a step failed, or why it was skipped."""

    code: NotRequired[str]
    message: NotRequired[str]
    reason: NotRequired[str]
    step_id: NotRequired[str]


class StepRunOut(TypedDict):
    """One step of the run's version, begun or not.

    `output` is null while there is none and when it is too large for this page; then `output_url`
    has it. `iterations` counts the items of a loop by where they stand.
    """

    step_id: str
    status: StepState
    attempt: int
    output: Any
    output_size: int
    output_url: str | None
    error: RunErrorOut | None
    started_at: str | None
    completed_at: str | None
    duration_seconds: int | None
    waiting_until: NotRequired[str]
    iterations: NotRequired[dict[str, int]]


class RunOut(TypedDict):
    """A run, as in lists. `intent` is what was asked of it and has not happened yet.

    `schedule_id` and `scheduled_at` say what started it, and when it was due, if a schedule did.
    """

    id: str
    workflow_id: str
    workflow_name: str
    version: int
    status: RunState
    intent: Literal["pause", "cancel"] | None
    trigger: str
    schedule_id: str | None
    scheduled_at: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    duration_seconds: int | None
    error: RunErrorOut | None


class RunFullOut(RunOut):
    """A run with its output, if it is small enough for this page, and its steps."""

    output: Any
    output_url: str | None
    step_runs: list[StepRunOut]


class OneRunOut(TypedDict):
    """One run."""

    run: RunFullOut


class RunsOut(TypedDict):
    """A page of runs; `total` counts all pages."""

    runs: list[RunOut]
    total: int


class VerbOut(TypedDict):
    """Where the run stands after the verb; `intent` while it has not carried it out."""

    run_id: str
    status: RunState
    intent: Literal["pause", "cancel"] | None
