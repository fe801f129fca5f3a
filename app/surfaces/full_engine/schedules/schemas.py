"""What is taken and answered about schedules."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from app.services.schedules import zones
from app.surfaces.full_engine.wire import In
from engine.errors import Invalid
from engine.schedule import LONGEST, Overlap, parse_cron

#: Seconds: what Temporal takes at least, and a year.
SHORTEST_WINDOW = 10
LONGEST_WINDOW = 31_536_000


def _cron(text: str) -> str:
    try:
        parse_cron(text)
    except Invalid as error:
        raise PydanticCustomError("cron", "{why}", {"why": error.message}) from error
    return text


def _zone(name: str) -> str:
    if name not in zones():
        raise PydanticCustomError("zone", "There is no IANA time zone of this name.")
    return name


Cron = Annotated[
    str,
    AfterValidator(_cron),
    Field(
        max_length=LONGEST,
        description="Five fields: minute, hour, day of the month, month, day of the week. "
        "All five have to match.",
    ),
]
Zone = Annotated[str, AfterValidator(_zone), Field(max_length=64, description="An IANA time zone.")]
#: Text that every database column takes: a NUL has no place in PostgreSQL.
Note = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[^\x00]*$")]


class ScheduleIn(In):
    """A schedule, whole: what a change leaves out has its default again."""

    cron_expression: Cron
    timezone: Zone = "UTC"
    input_data: dict[str, Any] = Field(default={})
    overlap: Overlap = Overlap.SKIP
    catchup_window: int = Field(
        default=60,
        ge=SHORTEST_WINDOW,
        le=LONGEST_WINDOW,
        description="Seconds after its time that a start which was missed is still made.",
    )
    paused: bool = False
    note: Note | None = None


class NoteIn(In):
    """Why a schedule is paused or goes on; without one the old note stays."""

    note: Note | None = None


class BackfillIn(In):
    """The times to make up for, both ends included."""

    start_at: AwareDatetime
    end_at: AwareDatetime
    overlap: Overlap = Overlap.ALLOW_ALL


class ScheduleOut(TypedDict):
    """A schedule. `enabled` when it fires: it is not paused and its workflow is active.

    `next_run_at` is null while it does not fire, and while Temporal does not say.
    """

    id: str
    workflow_id: str
    cron_expression: str
    timezone: str
    input_data: dict[str, Any]
    enabled: bool
    overlap: Overlap
    catchup_window: int
    paused: bool
    note: str | None
    next_run_at: str | None
    last_run_at: str | None
    created_at: str
    updated_at: str


class CreatedScheduleOut(TypedDict):
    """A schedule that was created."""

    schedule_id: str


class OneScheduleOut(TypedDict):
    """One schedule."""

    schedule: ScheduleOut


class SchedulesOut(TypedDict):
    """A page of schedules; `total` counts all pages."""

    schedules: list[ScheduleOut]
    total: int


class DeletedScheduleOut(TypedDict):
    """It is gone."""

    success: bool


class TriggeredOut(TypedDict):
    """A start that was asked for; its run will have this `scheduled_at`."""

    schedule_id: str
    scheduled_at: str


class BackfilledOut(TypedDict):
    """How many times the range has; a start of each was asked for."""

    schedule_id: str
    times: int


class TimeOut(TypedDict):
    """A time of a schedule: in UTC, and as clocks in its zone show it, with their offset."""

    at: str
    local: str


class PreviewOut(TypedDict):
    """Times of a schedule, in order; `more` when the range has others."""

    schedule_id: str
    timezone: str
    enabled: bool
    times: list[TimeOut]
    more: bool


def micros(time: datetime) -> int:
    """A time as the store has it."""
    return round(time.timestamp() * 1_000_000)
