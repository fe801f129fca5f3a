"""How `/v1` writes ids and times: contracts §1.1.3 and §1.1.4.

Ids are a prefix and 32 hex digits, times whole seconds since 1970.
"""

from hashlib import sha256
from typing import Annotated, Literal

from fastapi import Header, Path, Request
from pydantic import BaseModel

from app.services import spelling
from engine.errors import Invalid, Problem

#: What stands before the hex digits of an id.
Prefix = Literal[
    "cbwr_",  # run
    "cbwd_",  # workflow definition
    "cbwrs_",  # step of a run
    "cbwc_",  # component: a step in the definition
    "cbwsch_",  # one-off schedule
    "cbvndr_",  # vendor
    "cbsvc_",  # service
    "cbctst_",  # control set
    "cbqsrw_",  # assessment, or questionnaire response
    "cbuser_",
    "cbevt_",
]

WorkflowName = Annotated[str, Path(description="The name of a workflow, percent-encoded.")]
ScheduleId = Annotated[str, Path(description="`cbwsch_` and 32 hex digits.")]
RunId = Annotated[str, Path(description="`cbwr_` and 32 hex digits.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable ASCII characters. The same key within 24 hours gets the "
        "first answer again, whatever the body, marked `Idempotent-Replayed: true`.",
    ),
]

_SECOND = 1_000_000


class In(BaseModel):
    """Base of every body: unknown keys are ignored, as published; contracts A-q6."""


async def require_no_body(request: Request) -> None:
    """Refuse a body that is `null`: none may be left out, and `{}` may be sent; A-q6.

    Raises:
        Invalid: there is such a body.
    """
    if await request.body():
        message = "Input should be an object."
        raise Invalid(message, problems=[Problem(message, path="body")])


def spelled(prefix: Prefix, hexadecimal: str) -> str:
    """An id as it is written here."""
    return spelling.spelled(prefix, hexadecimal)


def bare(prefix: Prefix, written: str) -> str:
    """The hex digits of an id; `spelling.bare` says what becomes of one that is none."""
    return spelling.bare(prefix, written)


def derived(prefix: Prefix, *parts: str) -> str:
    """The id of something that has none of its own: always the same for the same parts."""
    return spelled(prefix, sha256("/".join(parts).encode()).hexdigest()[:32])


def seconds(micros: int) -> int:
    """A time of the store, rounded down."""
    return micros // _SECOND


def micros(seconds: int) -> int:
    """A time that came in as the store keeps it."""
    return seconds * _SECOND


def maybe_seconds(micros: int | None) -> int | None:
    """The same of a time that may not have come yet."""
    return None if micros is None else seconds(micros)
