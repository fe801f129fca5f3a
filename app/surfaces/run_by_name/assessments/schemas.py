"""What is taken and answered about assessments: contracts A-5."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from app.surfaces.run_by_name.wire import In

#: An id that nobody here has to know, or one that is looked up.
Id = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
Ids = Annotated[list[Id], Field(max_length=1_000)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class AssessmentIn(In):
    """An assessment to begin. `trigger_workflow` names a workflow that is started with it."""

    vendor_id: Id
    control_set_ids: Ids
    name: Text | None = None
    assessment_name_format: str | None = Field(
        default=None, description="Taken, and without effect."
    )
    service_ids: Ids = Field(default=[])
    assignee_id: Annotated[str, StringConstraints(max_length=64)] | None = None
    trigger_workflow: str | None = None
    supporting_document_ids: Ids = Field(default=[])


class AssessmentHeadOut(TypedDict):
    """An assessment. `score_percent`, `findings_count` and `initiated_at` are null here."""

    id: str
    vendor_id: str
    name: str
    status: str
    control_set_ids: list[str]
    service_ids: list[str]
    assignee_id: str | None
    score_percent: int | None
    findings_count: int | None
    initiated_at: int | None
    created_at: int
    updated_at: int


class CreatedAssessmentOut(AssessmentHeadOut):
    """One that was begun; `workflow_run_id` is set when a workflow was started with it."""

    workflow_run_id: str | None


class AssessmentOut(AssessmentHeadOut):
    """One that is read."""

    custom_fields: dict[str, Any]


class AssessmentsOut(TypedDict):
    """A page of assessments; `total` counts all pages."""

    items: list[AssessmentOut]
    total: int
    limit: int
    offset: int


class DeletedAssessmentOut(TypedDict):
    """One that was deleted, and since when."""

    id: str
    status: Literal["canceled"]
    is_archived: Literal[True]
    archived_at: int
