"""What a step type is, and what it is given.

A step type is one file in `activities/steps/`: a `Config` model, a `run` function and a `STEP`.
`run` gets a configuration that is rendered and validated, and a context; it answers an outcome or
raises `StepError`. It knows nothing of Temporal, SQL or settings.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from activities.clients.agents import Agents
from activities.clients.assessments import Assessments
from activities.clients.buckets import Buckets
from activities.clients.http import HttpDoor
from activities.clients.mail import Mail
from activities.clients.models import Models
from activities.clients.records import Records
from activities.clients.runs import Runs
from activities.clients.shell import Shell
from activities.clients.temporal_activities import TemporalActivities
from activities.clients.waits import Waits
from activities.secrets import Disclosed
from engine.call import StepCall
from engine.catalog import Lane, Naming, StepKind
from engine.errors import StepError
from engine.expressions import ExpressionError, evaluate
from engine.outcomes import Outcome
from engine.usage import Usage


def _as_text(value: object) -> object:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
    return value


#: Text, or a number or boolean that is written as text: what a template gives keeps its type.
ScalarText = Annotated[str, BeforeValidator(_as_text)]


class StepConfig(BaseModel):
    """Base of every step type's `Config`: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Clients:
    """The seams that steps reach the world through; opened once by the worker."""

    http: HttpDoor
    shell: Shell
    models: Models
    agents: Agents
    activities: TemporalActivities
    runs: Runs
    waits: Waits
    records: Records
    assessments: Assessments
    mail: Mail
    buckets: Buckets


@dataclass(frozen=True)
class StepContext:
    """What a step knows besides its configuration.

    Attributes:
        call: which step of which run this is, and how it was asked for.
        key: the idempotency key of the step's effect, the same on every attempt.
        attempt: from 1; counts failures that the step itself reported.
        timeout: seconds that this attempt has.
        now: seconds since 1970 when the attempt was asked for, on the clock of Temporal's timers.
        until: when a wait that is asked again gives up (seconds since 1970); None the first time.
        began: when the step first began (seconds since 1970).
        org: the id of the organisation whose run it is.
        usage: what the attempt asks of models is added here, and recorded with its end.
        n: the number of the execution of the run, from 1.
        secrets: reads secrets of the run's organisation that the configuration does not name
            itself; a step that cuts a text asks it first, see `Disclosed.cut`.
    """

    call: StepCall
    key: str
    step: str
    attempt: int
    timeout: float
    now: float
    began: float
    clients: Clients
    scope: Mapping[str, JsonValue] = field(repr=False)
    until: float | None = None
    org: str = ""
    usage: Usage = field(default_factory=Usage)
    n: int = 1
    secrets: Disclosed = field(default_factory=Disclosed, repr=False)

    @property
    def entity(self) -> dict[str, JsonValue] | None:
        """`{"id", "type", "fields"}` of the record that the step is about; None without one."""
        entity = self.scope.get("entity")
        return entity if isinstance(entity, dict) else None

    @property
    def record(self) -> JsonValue:
        """The fields of that record or, without one, the input of the run."""
        return self.scope.get("input") if self.entity is None else self.entity.get("fields")

    def evaluate(self, expression: str) -> JsonValue:
        """The value of an expression of the step's own configuration.

        Raises:
            StepError: `expression_failed`, not retryable.
        """
        try:
            return evaluate(expression, self.scope)
        except ExpressionError as error:
            raise StepError("expression_failed", str(error), retryable=False) from error


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True)
class StepType(Generic[C]):
    """A step type. See `engine.catalog.StepKind` for what the other fields mean.

    The reference page, the OpenAPI document and forms are made of this and of `config`: its
    docstring says what the type is for, in the words of its users.

    Attributes:
        output: what the step's output is, a phrase in Markdown that ends with a full stop.
        errors: the codes that it fails with, likewise.
    """

    config: type[C]
    run: Callable[[C, StepContext], Awaitable[Outcome]]
    output: str
    errors: str = "none of its own."
    lane: Lane = "long"
    timeout: float = 300
    expressions: tuple[str, ...] = ()
    body: str | None = None
    targets: tuple[str, ...] = ()
    live: bool = False
    upstream: bool = False
    reads_input: bool = False
    secrets: bool = False
    whole: str | None = None
    per_entity: bool = True
    naming: Naming | None = None

    def kind(self, name: str) -> StepKind:
        """The type as the language sees it."""
        return StepKind(
            name=name,
            config=self.config,
            lane=self.lane,
            timeout=self.timeout,
            expressions=self.expressions,
            body=self.body,
            targets=self.targets,
            live=self.live,
            upstream=self.upstream,
            reads_input=self.reads_input,
            secrets=self.secrets,
            whole=self.whole,
            per_entity=self.per_entity,
            naming=self.naming,
        )


AnyStepType = StepType[Any]
