"""What is taken and answered about workflows."""

from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.full_engine.errors import ProblemOut
from app.surfaces.full_engine.wire import In, Words
from engine.lifecycle import DefinitionStatus

#: Shown as the language's own schema; read by `engine.validation`, which says all that is wrong.
Document = Annotated[dict[str, Any], Field(json_schema_extra={"x-schema": "Definition"})]
TriggerType = Literal["manual", "schedule", "event", "webhook"]


class CreateIn(In):
    """A new workflow."""

    definition: Document
    trigger_type: TriggerType = "manual"
    tags: list[Words] = Field(default=[], max_length=50)
    status: DefinitionStatus = DefinitionStatus.ACTIVE


class ValidateIn(In):
    """A definition to look at."""

    definition: Document


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
