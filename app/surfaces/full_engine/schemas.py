"""What `/api/workflows` takes and answers: snake_case, ISO 8601 times with `Z`, prefixed ids.

What comes in is validated by models. What goes out is a typed dictionary that mypy checks and the
OpenAPI document shows, and that costs nothing at run time.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from app.surfaces.full_engine.errors import ProblemOut
from engine.lifecycle import DefinitionStatus, RunStatus, StepStatus

#: Text that every database column takes: a NUL has no place in PostgreSQL.
Words = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
TriggerType = Literal["manual", "schedule", "event", "webhook"]
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


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateIn(_In):
    """A new workflow."""

    definition: dict[str, Any]
    trigger_type: TriggerType = "manual"
    tags: list[Words] = Field(default=[], max_length=50)
    status: DefinitionStatus = DefinitionStatus.ACTIVE


class ValidateIn(_In):
    """A definition to look at."""

    definition: dict[str, Any]


class RunIn(_In):
    """What a run starts with."""

    input_data: dict[str, Any] = {}
    trigger: Words = "manual"


class ResumeIn(_In):
    """Where to go on; without `from_step` after what is complete."""

    from_step: Words | None = None


class WorkflowOut(TypedDict):
    """A workflow, as in lists."""

    id: str
    name: str
    description: str | None
    version: int
    status: DefinitionStatus
    trigger_type: str
    tags: list[str]
    created_at: str
    updated_at: str


class WorkflowFullOut(WorkflowOut):
    """A workflow with its latest definition."""

    definition: dict[str, Any]


class CreatedOut(TypedDict):
    """A workflow that was created."""

    id: str
    workflow: WorkflowFullOut


class OneWorkflowOut(TypedDict):
    """One workflow."""

    workflow: WorkflowFullOut


class WorkflowsOut(TypedDict):
    """A page of workflows; `total` counts all pages."""

    workflows: list[WorkflowOut]
    total: int


class ValidatedOut(TypedDict):
    """Everything that is wrong with a definition."""

    valid: bool
    errors: list[str]
    problems: list[ProblemOut]


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
    """A run, as in lists. `intent` is what was asked of it and has not happened yet."""

    id: str
    workflow_id: str
    workflow_name: str
    version: int
    status: RunState
    intent: Literal["pause", "cancel"] | None
    trigger: str
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


def iso(micros: int) -> str:
    """A time of the store as ISO 8601; microseconds only when there are some.

    >>> iso(1_767_225_600_000_000), iso(1_767_225_600_250_000)
    ('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.250000Z')
    """
    seconds, rest = divmod(micros, 1_000_000)
    return (
        datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None, microsecond=rest).isoformat()
        + "Z"
    )


def seconds_between(started: int | None, ended: int | None) -> int | None:
    """Whole seconds, rounded down; None until both are known."""
    return None if started is None or ended is None else max(ended - started, 0) // 1_000_000
