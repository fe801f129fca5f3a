"""What is taken and answered about jobs."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from engine.lifecycle import Intent, RunStatus

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
#: Those of the published API; the runs of workflows are all of the second.
Category = Literal["seo", "ai", "sync", "export"]
EntityStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
Level = Literal["info", "warn", "error"]
IntentName = Literal["pause", "cancel", "terminate"]

#: contracts §4.3. One that is paused reads as running here, and `paused` says so.
STATUSES: dict[RunStatus, JobStatus] = {
    RunStatus.QUEUED: "pending",
    RunStatus.RUNNING: "running",
    RunStatus.PAUSED: "running",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
INTENTS: dict[Intent, IntentName] = {
    Intent.PAUSE: "pause",
    Intent.CANCEL: "cancel",
    Intent.TERMINATE: "terminate",
}


class ProgressOut(TypedDict):
    """How many entities there are, have gone through all steps, and have failed."""

    total: int
    completed: int
    failed: int


class JobOut(TypedDict):
    """A job, as in lists. Times are milliseconds.

    `startedAt` is null while it is pending, `completedAt` until it is over. `retryOf` is the job
    whose failed entities it has taken up.
    """

    id: str
    name: str
    type: Literal["workflow_run"]
    category: Category
    status: JobStatus
    paused: bool
    progress: ProgressOut
    workflowId: str
    retryOf: str | None
    createdAt: int
    startedAt: int | None
    completedAt: int | None


class JobErrorOut(TypedDict):
    """Why a job has failed, or begins nothing more."""

    code: str
    message: str
    stepId: NotRequired[str]


class JobStepOut(TypedDict):
    """How many of the entities that are through have completed, failed at and left out a step."""

    id: str
    completed: int
    failed: int
    skipped: int


class ErrorBudgetOut(TypedDict):
    """How many entities may fail before nothing more begins, and what becomes of the job then."""

    maxFailures: int
    onExceeded: Literal["stop", "pause"]


class UsageOut(TypedDict):
    """What the steps of a job have asked of models so far."""

    requests: int
    inputTokens: int
    outputTokens: int


class LogOut(TypedDict):
    """A line of a job's log; `sequence` numbers the event that it tells of, from 1."""

    sequence: int
    timestamp: int
    level: Level
    message: str
    entityId: NotRequired[str]
    stepId: NotRequired[str]


class JobFullOut(JobOut):
    """A job with its log.

    `intent` is what was asked of it and has not happened yet. `estimatedCompletionAt` goes by how
    fast it was so far; it is null where nothing tells. `concurrency` is null for a run that is not
    over entities. `usage` is null until a model was asked.
    """

    runId: str
    intent: IntentName | None
    error: JobErrorOut | None
    estimatedCompletionAt: int | None
    concurrency: int | None
    errorBudget: ErrorBudgetOut | None
    usage: UsageOut | None
    steps: list[JobStepOut]
    logs: list[LogOut]


class JobsOut(TypedDict):
    """A page of jobs; `total` counts all pages."""

    data: list[JobOut]
    total: int
    hasMore: bool


class JobRemovedOut(TypedDict):
    """A job that is no more."""

    id: str
    deleted: bool


class StartedOut(TypedDict):
    """What was started; the two ids are the same."""

    jobId: str
    runId: str


class LaneErrorOut(TypedDict):
    """Why an entity has failed."""

    code: str
    message: str


class NoteOut(TypedDict):
    """A step after which the entity went on: it has failed, or was skipped for a reason."""

    stepId: str
    kind: Literal["failed", "skipped"]
    code: str | None
    message: str


class LaneOut(TypedDict):
    """What has become of an entity of a job.

    `stepId` is the step that it is at or has failed at, and of one that is through the last that
    completed; `attempts` how many attempts of steps it took, `output` what the last step that
    completed has answered.
    """

    entityId: str
    status: EntityStatus
    stepId: str | None
    attempts: int
    error: LaneErrorOut | None
    notes: list[NoteOut]
    output: Any
    startedAt: int | None
    completedAt: int | None


class LanesOut(TypedDict):
    """A page of the entities of a job, in the order of the request; `total` counts all pages."""

    data: list[LaneOut]
    total: int
    hasMore: bool
