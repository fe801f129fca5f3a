"""What is taken and answered about runs: contracts A-1 to A-3."""

from typing import Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.run_by_name.wire import In
from engine.lifecycle import RunStatus, StepStatus

RunWord = Literal["started", "completed", "canceled", "failed"]
StepWord = Literal["success", "failed", "skipped"]

#: contracts §4.3: what only waits or is paused has no word of its own here.
RUN_WORDS: dict[RunStatus, RunWord] = {
    RunStatus.QUEUED: "started",
    RunStatus.RUNNING: "started",
    RunStatus.PAUSED: "started",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "canceled",
}
STEP_WORDS: dict[StepStatus, StepWord] = {
    StepStatus.COMPLETED: "success",
    StepStatus.FAILED: "failed",
    StepStatus.SKIPPED: "skipped",
    StepStatus.CANCELLED: "skipped",
}


class StartIn(In):
    """What a run starts with. It is kept and echoed, and compared with no schema."""

    input: dict[str, Any] = Field(default={})


class RunStartedOut(TypedDict):
    """A run that was accepted; `started_at` is when that was."""

    workflow_run_id: str
    workflow_name: str
    status: Literal["started"]
    started_at: int
    input: dict[str, Any]


class ArtifactOut(TypedDict):
    """Something that a step used (`trigger`) or made (`result`)."""

    artifact_type: str
    id: str
    role: str


class ExecutedStepOut(TypedDict):
    """A step that has begun; `status` is null while it goes on."""

    step_id: str
    component_id: str
    component_name: str | None
    action_type: str | None
    status: StepWord | None
    message: str | None
    artifacts: list[ArtifactOut]
    created_at: int
    updated_at: int


class WorkflowRunHeadOut(TypedDict):
    """What a run and its summary have in common.

    `workflow_name` and `workflow_definition_id` are null when the workflow was deleted.
    """

    workflow_run_id: str
    workflow_name: str | None
    workflow_definition_id: str | None
    status: RunWord
    started_at: int
    completed_at: int | None


class WorkflowRunOut(WorkflowRunHeadOut):
    """A run, with the steps that it has executed."""

    steps: list[ExecutedStepOut]


class WorkflowRunSummaryOut(WorkflowRunHeadOut):
    """A run, as lists have it."""

    step_count: int


class WorkflowRunsOut(TypedDict):
    """A page of runs; `total` counts all pages."""

    data: list[WorkflowRunSummaryOut]
    total: int
    limit: int
    offset: int
