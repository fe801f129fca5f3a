"""What is taken and answered about runs over entities."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, FailFast, Field, model_validator
from typing_extensions import TypedDict

from app.envelope import to_json
from app.services.batches import Budget
from app.services.door import LARGEST_BODY, measure
from app.surfaces.entity_batches.jobs.schemas import JobStatus, ProgressOut
from app.surfaces.entity_batches.wire import In
from engine.batch import MOST_AT_ONCE, MOST_LANES, USUALLY_AT_ONCE


def _as_elsewhere(value: dict[str, Any]) -> dict[str, Any]:
    """An input that could have come in by any other route: this one's bounds are for the ids."""
    measure(value)
    if len(to_json(value)) > LARGEST_BODY:
        raise ValueError(f"it is larger than {LARGEST_BODY} bytes")
    return value


class ErrorBudgetIn(In):
    """How many entities may fail before nothing more begins: so many, or a share of all of them.

    `stop` cancels what is left then, `pause` waits for an operator.
    """

    max_failures: int | None = Field(default=None, ge=1, le=MOST_LANES)
    max_failure_percent: float | None = Field(default=None, gt=0, le=100)
    on_exceeded: Literal["stop", "pause"] = "stop"

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.max_failures is None) is (self.max_failure_percent is None):
            raise ValueError("either maxFailures or maxFailurePercent must be given")
        return self

    @property
    def budget(self) -> Budget:
        """The same for who starts a batch."""
        return Budget(self.max_failures, self.max_failure_percent, self.on_exceeded)


class BatchIn(In):
    """What a workflow is run over, and how.

    Either `entityIds`, 1 to 100,000, repeats counting once, in the order in which they begin; or
    `allEntities: true` for all that the workflow's type has by then, oldest first. `concurrency` is
    how many of them may be under way at the same time.
    """

    #: The first that is no text says enough: there may be a hundred thousand like it. Any text is
    #: looked for, so that all that are not found are told of at once.
    entity_ids: Annotated[list[str], FailFast()] = Field(default=[], min_length=1)
    all_entities: bool = Field(default=False)
    concurrency: int = Field(default=USUALLY_AT_ONCE, ge=1, le=MOST_AT_ONCE)
    input: Annotated[dict[str, Any], AfterValidator(_as_elsewhere)] = Field(default={})
    error_budget: ErrorBudgetIn | None = None


class RetryIn(In):
    """How the entities that have failed are run over again; what is left out is as before."""

    concurrency: int | None = Field(default=None, ge=1, le=MOST_AT_ONCE)
    error_budget: ErrorBudgetIn | None = None


class BatchRunOut(TypedDict):
    """A run. Times are milliseconds; `startedAt` is null while it is pending."""

    id: str
    status: JobStatus
    paused: bool
    progress: ProgressOut
    startedAt: int | None
    completedAt: int | None
