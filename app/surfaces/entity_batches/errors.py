"""The error body of `/api/v1`: malformed and invalid are both 400; contracts B-q4."""

import re
from typing import Any, NotRequired

from typing_extensions import TypedDict

from app.envelope import Fault, declared
from engine.errors import Invalid, Problem

#: The published word for a status. Other statuses keep the code of their error.
PUBLISHED = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    429: "rate_limited",
    500: "internal_error",
}


#: An index in a path, and what a path within a step goes on after.
_INDEX = re.compile(r"\.(\d+)(?=\.|$)")
_STEP = re.compile(r"steps\.\d+\.")
#: What is said here of what is called otherwise on other surfaces, by the code of the error.
_SAID = {"run_not_found": "There is no such job."}


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
    details = [_detail(problem) for problem in fault.problems]
    message = _SAID.get(fault.code, fault.message)
    if details and message == fault.problems[0].message:
        message = details[0]["message"]
    told = FaultOut(code=PUBLISHED.get(status, fault.code), message=message)
    if details:
        told["details"] = details
    return status, ErrorEnvelopeOut(error=told)


def _detail(problem: Problem) -> DetailOut:
    """A problem with its place as in `steps[0].type`, in the path and in the sentence alike."""
    path = problem.path.removeprefix("body.")
    message = problem.message
    # A sentence on a step begins at the step, and may name the object that something is missing in.
    inner = _STEP.sub("", path, count=1)
    for named in (problem.path, inner, inner.rpartition(".")[0]):
        place = _spelled(named.removeprefix("body."))
        if place != named:
            message = message.replace(named, place)
    return DetailOut(path=_spelled(path), message=message)


def _spelled(path: str) -> str:
    return "entityTypeId" if path == "entity_type" else _INDEX.sub(r"[\1]", path)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The declared error answers of a route: those given and those that every route has."""
    every = sorted({400, 401, 403, 500, 503, *statuses})
    return declared(dict.fromkeys(every, ErrorEnvelopeOut))


#: What a body can do wrong besides not being valid.
BODY = (408, 413, 415)
#: The same with an `Idempotency-Key`, which may have come before with another body.
KEYED = (*BODY, 422)
