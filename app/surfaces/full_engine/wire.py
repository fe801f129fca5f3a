"""How `/api/workflows` writes ids and times, and what all its bodies and queries have in common.

snake_case, ISO 8601 times with `Z`, prefixed ids. What comes in is validated by models. What goes
out is a typed dictionary that mypy checks and the OpenAPI document shows, and that costs nothing at
run time.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from app.services import spelling

#: Text that every database column takes: a NUL has no place in PostgreSQL.
Words = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]

#: Text that people read, of any characters but NUL.
Sentence = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]

WorkflowId = Annotated[str, Path(description="`wf_` and 32 hex digits.")]
TemplateId = Annotated[str, Path(description="`tpl_` and 32 hex digits.")]
ScheduleId = Annotated[str, Path(description="`sched_` and 32 hex digits.")]
RunId = Annotated[str, Path(description="`run_` and 32 hex digits.")]
#: The number of a version, in a body; one that is none is as unknown as one that is not there yet.
Version = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: What stands before the hex digits of an id.
Prefix = Literal["wf_", "run_", "sched_", "tpl_", "agent_", "cbevt_"]


class In(BaseModel):
    """Base of every body: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class DoneOut(TypedDict):
    """It is done."""

    success: Literal[True]


def spelled(prefix: Prefix, hexadecimal: str) -> str:
    """An id as it is written here."""
    return spelling.spelled(prefix, hexadecimal)


def bare(prefix: Prefix, written: str) -> str:
    """The hex digits of an id; `spelling.bare` says what becomes of one that is none."""
    return spelling.bare(prefix, written)


def iso(micros: int) -> str:
    """A time of the store as ISO 8601; microseconds only when there are some.

    >>> iso(1_767_225_600_000_000), iso(1_767_225_600_250_000)
    ('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.250000Z')
    """
    seconds, rest = divmod(micros, 1_000_000)
    return (
        datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None, microsecond=rest).isoformat()
        + "Z"
    )


def micros(moment: datetime) -> int:
    """A time that came in as the store keeps it; one without a zone is UTC."""
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (at - _EPOCH) // timedelta(microseconds=1)


def seconds_between(started: int | None, ended: int | None) -> int | None:
    """Whole seconds, rounded down; None until both are known."""
    return None if started is None or ended is None else max(ended - started, 0) // 1_000_000


def maybe_iso(micros: int | None) -> str | None:
    """The same of a time that may not have come yet."""
    return None if micros is None else iso(micros)
