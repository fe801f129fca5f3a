"""What is taken and answered about workflows."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from app.surfaces.full_engine.errors import ProblemOut
from app.surfaces.full_engine.wire import In, Sentence, Version, Words
from engine.lifecycle import DefinitionStatus
from engine.records import require_event_name

#: Shown as the language's own schema; read by `engine.validation`, which says all that is wrong.
Document = Annotated[dict[str, Any], Field(json_schema_extra={"x-schema": "Definition"})]
TriggerType = Literal["manual", "schedule", "event", "webhook"]


EventName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(require_event_name)]


def _text_or_object(value: Any) -> Any:
    if value is None or isinstance(value, str | dict):
        return value
    raise ValueError("it is an expression (text) or a tree (object)")


#: Looked at here, so that what is neither is told of once and under its own path.
Conditions = Annotated[
    Any,
    BeforeValidator(_text_or_object),
    WithJsonSchema(TypeAdapter(str | dict[str, Any] | None).json_schema()),
]


class TriggerIn(In):
    """The event that starts the workflow; without conditions each of them does.

    `conditions` is an expression over `event` and `entity`, or a tree of rules.
    """

    event: EventName
    conditions: Conditions = None


class CreateIn(In):
    """A new workflow; `trigger` goes with the `trigger_type` `event`."""

    definition: Document
    trigger_type: TriggerType = "manual"
    trigger: TriggerIn | None = None
    tags: list[Words] = Field(default=[], max_length=50)
    status: DefinitionStatus = DefinitionStatus.ACTIVE


class UpdateIn(In):
    """The next version; tags and trigger stay as they are unless they are given.

    A `trigger` makes the `trigger_type` `event`; another type takes the trigger away.
    """

    definition: Document
    change_summary: Sentence = "Updated"
    tags: list[Words] | None = Field(default=None, max_length=50)
    trigger_type: TriggerType | None = None
    trigger: TriggerIn | None = None


class StatusIn(In):
    """What the workflow may do from now on."""

    status: DefinitionStatus


class RollbackIn(In):
    """The version whose definition becomes the next one."""

    version: Version
    change_summary: Sentence | None = None


class ValidateIn(In):
    """A definition to look at."""

    definition: Document


class TriggerOut(TypedDict):
    """The event that starts a workflow, and under which conditions."""

    event: str
    conditions: str | dict[str, Any] | None


class TriggerFailureOut(TypedDict):
    """An event that should have started the workflow and could not."""

    event_id: str
    message: str
    at: str


class WorkflowOut(TypedDict):
    """A workflow, as in lists."""

    id: str
    name: str
    description: str | None
    version: int
    status: DefinitionStatus
    trigger_type: str
    trigger: TriggerOut | None
    tags: list[str]
    created_at: str
    updated_at: str


class WorkflowFullOut(WorkflowOut):
    """A workflow with its latest definition."""

    definition: dict[str, Any]


class WorkflowReadOut(WorkflowFullOut):
    """The same, with the last event that should have started it and could not, if there was one."""

    trigger_failure: NotRequired[TriggerFailureOut]


class CreatedOut(TypedDict):
    """A workflow that was created."""

    id: str
    workflow: WorkflowFullOut


class OneWorkflowOut(TypedDict):
    """One workflow."""

    workflow: WorkflowFullOut


class ReadWorkflowOut(TypedDict):
    """One workflow, as it is read."""

    workflow: WorkflowReadOut


class WorkflowsOut(TypedDict):
    """A page of workflows; `total` counts all pages."""

    workflows: list[WorkflowOut]
    total: int


class ValidatedOut(TypedDict):
    """Everything that is wrong with a definition."""

    valid: bool
    errors: list[str]
    problems: list[ProblemOut]


class VersionOut(TypedDict):
    """A version, as in lists."""

    version: int
    change_summary: str
    created_at: str


class VersionFullOut(VersionOut):
    """A version with its definition."""

    definition: dict[str, Any]


class VersionsOut(TypedDict):
    """A page of versions; `total` counts all pages."""

    versions: list[VersionOut]
    total: int


#: One operation of RFC 6902; `value` with add and replace, `from` with move.
OperationOut = TypedDict(
    "OperationOut",
    {
        "op": Literal["add", "remove", "replace", "move"],
        "path": str,
        "value": NotRequired[Any],
        "from": NotRequired[str],
    },
)


class DiffOut(TypedDict):
    """What makes version `v2` of version `v1`, when it is applied in this order."""

    diff: list[OperationOut]
    summary: str
    v1: int
    v2: int
