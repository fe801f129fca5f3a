"""What is taken and answered about starts in the future: contracts A-4."""

from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.run_by_name.wire import In

#: Seconds since 1970: the end of 2100, beyond which Temporal knows no times.
LATEST = 4_133_980_799


class ScheduleRunIn(In):
    """When to start a run, and what it starts with."""

    scheduled_for: int = Field(strict=True, ge=0, le=LATEST, description="Seconds since 1970.")
    input: dict[str, Any] = Field(default={})


class ScheduledRunOut(TypedDict):
    """A start in the future: `fired_at` once it was made, `canceled_at` once it was given up."""

    id: str
    workflow_definition_id: str
    scheduled_for: int
    fired_at: int | None
    canceled_at: int | None
    cancel_reason: str | None
    payload: dict[str, Any]
    created_at: int
    updated_at: int
