"""What is taken and answered about runs."""

from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.full_engine.wire import In, Words
from engine.lifecycle import Intent, RunStatus, StepStatus
from store.items import ItemState

RunState = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
IntentName = Literal["pause", "cancel", "terminate"]
ItemStateName = Literal["pending", "running", "completed", "failed", "cancelled"]
AttemptState = Literal["running", "completed", "failed", "skipped", "cancelled", "lost"]
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
INTENTS: dict[Intent, IntentName] = {
    Intent.PAUSE: "pause",
    Intent.CANCEL: "cancel",
    Intent.TERMINATE: "terminate",
}
#: The states in which waiting for a run is over.
OVER: tuple[RunState, ...] = ("completed", "failed", "cancelled")
ITEM_STATES: dict[ItemState, ItemStateName] = {
    ItemState.PENDING: "pending",
    ItemState.RUNNING: "running",
    ItemState.COMPLETED: "completed",
    ItemState.FAILED: "failed",
    ItemState.CANCELLED: "cancelled",
}
ATTEMPT_STATES: dict[StepStatus, AttemptState] = {
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
    """A run that was accepted; `run` where the request waited for it, as it is by now."""

    run_id: str
    run: NotRequired["RunFullOut"]


class RunErrorOut(TypedDict):
    """Why a run or a step failed, or why it was skipped."""

    code: NotRequired[str]
    message: NotRequired[str]
    reason: NotRequired[str]
    step_id: NotRequired[str]


class UsageOut(TypedDict):
    """What a step has asked of models, over all its attempts."""

    requests: int
    input_tokens: int
    output_tokens: int


class IterationsOut(TypedDict):
    """The items of a loop, counted by where they stand."""

    total: int
    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int


class StepRunOut(TypedDict):
    """One step of the run's version, begun or not.

    `output` is null while there is none and when it is too large for this page; then `output_url`
    has it. A loop has `iterations` and `items_url`; `usage` counts what a model was asked.
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
    iterations: NotRequired[IterationsOut]
    items_url: NotRequired[str]
    usage: NotRequired[UsageOut]


class RunOut(TypedDict):
    """A run, as in lists. `intent` is what was asked of it and has not happened yet.

    `workflow_id` is null once the workflow was deleted; `workflow_name` is what it was called.
    `execution` counts the times that it was begun or resumed. `parent_…` name the step that started
    it, if one did, `schedule_id` and `scheduled_at` the schedule, `event_id` the event.
    """

    id: str
    workflow_id: str | None
    workflow_name: str
    version: int
    execution: int
    status: RunState
    intent: IntentName | None
    trigger: str
    parent_run_id: str | None
    parent_step_id: str | None
    schedule_id: str | None
    scheduled_at: str | None
    event_id: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    duration_seconds: int | None
    error: RunErrorOut | None


class BatchOut(TypedDict):
    """How many entities a batch has, how many have gone through all steps, and have failed."""

    total: int
    completed: int
    failed: int


class RunFullOut(RunOut):
    """A run with its steps, and with input and output if they are small enough for this page.

    Of a batch `step_runs` count entities in their `output`; of any other run `batch` is null.
    """

    input_data: dict[str, Any] | None
    input_url: str | None
    output: Any
    output_url: str | None
    step_runs: list[StepRunOut]
    batch: BatchOut | None


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
    intent: IntentName | None


class ItemOut(TypedDict):
    """An item of a loop with every step of the body, begun or not.

    `iteration` is what the addresses of its steps take: the index in each loop around them.
    """

    index: int
    iteration: str
    status: ItemStateName
    step_runs: list[StepRunOut]


class ItemsOut(TypedDict):
    """A page of items; `total` counts all pages."""

    items: list[ItemOut]
    total: int


class AttemptOut(TypedDict):
    """One attempt of a step.

    `execution` is the run's; the count of attempts begins anew with each. `status` is `lost` when
    the attempt was lost with its worker and made again. `generation` and `worker` are null where
    they are not known any more.
    """

    attempt: int
    execution: int
    generation: int | None
    status: AttemptState
    will_retry: bool
    error: RunErrorOut | None
    worker: str | None
    started_at: str
    ended_at: str | None
    duration_seconds: int | None


class AttemptsOut(TypedDict):
    """A page of attempts, oldest first; `total` counts all pages."""

    attempts: list[AttemptOut]
    total: int


class DeletedOut(TypedDict):
    """The run is gone."""

    success: Literal[True]
