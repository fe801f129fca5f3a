"""What is taken and answered about workflows."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from app.surfaces.entity_batches.wire import In, Sentence, Words
from engine.definition import MAX_STEPS, StepId

#: What a workflow may do; `paused`, which is said elsewhere, shows as `draft`.
Status = Literal["active", "draft", "archived"]
#: What a step of a workflow that is made here can be.
StepType = Literal["ai_generate", "validate", "publish", "notify", "transform", "condition"]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class EntityRetryIn(In):
    """How often and when a failed step is tried again; `delay` and `maxDelay` are seconds."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    delay: Seconds = 5
    backoff: Literal["fixed", "linear", "exponential"] = "fixed"
    max_delay: Seconds = 60


class EntityStepIn(In):
    """One step, which every entity goes through after the step before it.

    `id` is made of the step's position where it is left out. `timeout` is in seconds.
    """

    type: StepType
    config: dict[str, Any]
    id: StepId | None = None
    name: Title | None = None
    description: Sentence | None = None
    enabled: bool = True
    when: str | None = None
    timeout: float | None = Field(default=None, gt=0, le=7 * 86_400)
    retry: EntityRetryIn | None = None
    on_error: Literal["fail", "continue", "retry"] = "fail"


class EntityWorkflowIn(In):
    """A new workflow; the type of its entities by id or name."""

    name: Title
    description: Sentence | None = None
    entity_type_id: Words
    steps: list[EntityStepIn] = Field(min_length=1, max_length=MAX_STEPS)
    status: Status = "active"


class EntityWorkflowChangeIn(In):
    """What changes of a workflow; `steps` replaces the whole list, null takes the description."""

    name: Title = ""
    description: Sentence | None = None
    steps: list[EntityStepIn] = Field(default=[], min_length=1, max_length=MAX_STEPS)
    status: Status = "active"


class EntityRetryOut(TypedDict, total=False):
    """How often and when a failed step is tried again, as far as its author says so."""

    maxAttempts: int
    delay: float
    backoff: str
    maxDelay: float


class EntityStepOut(TypedDict):
    """One step; what its author has left out, is left out."""

    id: str
    type: str
    config: dict[str, Any]
    name: NotRequired[str | None]
    description: NotRequired[str | None]
    enabled: NotRequired[bool]
    when: NotRequired[str | None]
    timeout: NotRequired[float | None]
    retry: NotRequired[EntityRetryOut | None]
    onError: NotRequired[str]


class EntityWorkflowOut(TypedDict):
    """A workflow, as in lists.

    `lastRunAt` (milliseconds) is when its latest run began. `entityTypeId` is null where it runs
    over no entities, as workflows do that were made elsewhere.
    """

    id: str
    name: str
    description: str | None
    status: Status
    stepsCount: int
    lastRunAt: int | None
    entityTypeId: str | None


class EntityWorkflowFullOut(EntityWorkflowOut):
    """A workflow with its steps, in order."""

    steps: list[EntityStepOut]


class EntityWorkflowRemovedOut(TypedDict):
    """A workflow that is no more."""

    id: str
    deleted: bool


class EntityWorkflowsOut(TypedDict):
    """A page of workflows; `total` counts all pages."""

    data: list[EntityWorkflowOut]
    total: int
    hasMore: bool
