"""What is taken and answered about templates."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from app.surfaces.full_engine.wire import In, Version, Words

#: As long as a workflow's may be.
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Description = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]


class InstallIn(In):
    """What the workflow is to be called; without a name as its template."""

    name: Name | None = None


class TemplateIn(In):
    """The workflow that becomes a template, by default in its latest version."""

    workflow_id: str = Field(description="`wf_` and 32 hex digits.")
    version: Version | None = None
    name: Name | None = None
    description: Description | None = None
    category: Words = "custom"


class InstalledOut(TypedDict):
    """The workflow that was made."""

    workflow_id: str


class TemplateOut(TypedDict):
    """A template, as in lists; a builtin one has no time."""

    id: str
    name: str
    description: str | None
    category: str
    is_builtin: bool
    created_at: str | None


class TemplateFullOut(TemplateOut):
    """A template with its definition; a builtin one also with an `input_data` to try it with."""

    definition: dict[str, Any]
    sample_input: dict[str, Any] | None


class TemplatesOut(TypedDict):
    """A page of templates; `total` counts all pages."""

    templates: list[TemplateOut]
    total: int


class OneTemplateOut(TypedDict):
    """One template."""

    template: TemplateFullOut


class TemplateCreatedOut(TypedDict):
    """A template that was made."""

    template_id: str
    template: TemplateFullOut
