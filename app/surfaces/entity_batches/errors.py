"""The error body of `/api/v1`: malformed and invalid are both 400; contracts B-q4."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from app.envelope import Fault, declared
from engine.errors import Invalid

#: The published word for a status. Other statuses keep the code of their error.
PUBLISHED = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "rate_limited",
    500: "internal_error",
}


class DetailOut(TypedDict):
    """One thing that is wrong: where, and a sentence."""

    path: str
    message: str


class FaultOut(TypedDict):
    """What went wrong; `details` where there is something to list."""

    code: str
    message: str
    details: NotRequired[list[DetailOut]]


class ErrorEnvelopeOut(TypedDict):
    """Every error."""

    error: FaultOut


def render(fault: Fault) -> tuple[int, ErrorEnvelopeOut]:
    """The answer to an error."""
    status = 400 if fault.status == 422 and fault.code == Invalid.code else fault.status
    told = FaultOut(code=PUBLISHED.get(status, fault.code), message=fault.message)
    if fault.problems:
        told["details"] = [
            DetailOut(path=problem.path, message=problem.message) for problem in fault.problems
        ]
    return status, ErrorEnvelopeOut(error=told)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The declared error answers of a route: those given and those that every route has.

    422 is among these because FastAPI would add its own body for it to any route with parameters.
    """
    every = sorted({400, 401, 403, 422, 500, 503, *statuses})
    return declared(dict.fromkeys(every, ErrorEnvelopeOut))


#: What a body can do wrong besides not being valid.
BODY = (408, 413, 415)
