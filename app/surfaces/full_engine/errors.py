"""The error body of `/api/workflows`: flat, with the published code of its status."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from app.envelope import Fault, declared
from engine.errors import Problem

#: The published word for a status; contracts §3.1. Other statuses keep the code of their error.
PUBLISHED = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    500: "internal_error",
}


class ProblemOut(TypedDict):
    """One thing that is wrong: in which step if in one, where, and a sentence."""

    step: str | None
    path: str
    message: str


class ErrorOut(TypedDict):
    """Every error; the last two keys where there is something to list."""

    error: str
    message: str
    status: int
    errors: NotRequired[list[str]]
    problems: NotRequired[list[ProblemOut]]


def render(fault: Fault) -> tuple[int, ErrorOut]:
    """The answer to an error."""
    status = fault.status
    body = ErrorOut(error=PUBLISHED.get(status, fault.code), message=fault.message, status=status)
    if fault.problems:
        body["errors"] = [problem.message for problem in fault.problems]
        body["problems"] = [problem_out(problem) for problem in fault.problems]
    return status, body


def problem_out(problem: Problem) -> ProblemOut:
    """A problem, as it is written."""
    return ProblemOut(step=problem.step, path=problem.path, message=problem.message)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The declared error answers of a route: those given and those that every route has.

    422 is among these because FastAPI would add its own body for it to any route with parameters.
    """
    every = sorted({401, 403, 422, 500, 503, *statuses})
    return declared(dict.fromkeys(every, ErrorOut))


#: What a body can do wrong.
BODY = (400, 408, 413, 415, 422)
