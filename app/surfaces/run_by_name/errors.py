"""The error bodies of `/v1`: all of them are `{"detail": …}`; contracts §1.1.2 and §1.1.7.

What a rule of ours forbids has a code and a message, what does not fit a schema is a list of
findings, and what the caller may not do at all is a bare sentence.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from app.envelope import Fault, declared
from app.services.assessments import Refused as AssessmentRefused
from app.services.auth import NoCredentials, RoleTooLow
from app.services.door import Refused
from app.services.named_runs import Undispatched
from app.surfaces.run_by_name.wire import spelled
from engine.errors import Invalid, Problem, Unauthorized


class CodedOut(TypedDict):
    """A stable code for programs and a message for people."""

    code: str
    message: str


class FindingOut(TypedDict):
    """What does not fit: where, in what way, and which rule it breaks."""

    loc: list[str | int]
    msg: str
    type: str


class RefusedOut(TypedDict):
    """A request that a rule forbids."""

    detail: CodedOut


class SaidOut(TypedDict):
    """A message for people alone."""

    error: str


class UncodedOut(TypedDict):
    """An assessment that cannot be begun."""

    detail: SaidOut


class MalformedOut(TypedDict):
    """A request that does not fit its schema."""

    detail: list[FindingOut]


class DeniedOut(TypedDict):
    """A request of somebody who may not make it, or to where there is nothing."""

    detail: str


Failure = RefusedOut | MalformedOut | DeniedOut


def render(fault: Fault) -> tuple[int, Mapping[str, Any]]:
    """The answer to an error."""
    if isinstance(fault.error, AssessmentRefused):
        # Published so, and only for assessments; contracts §1.1.7.
        return 400, dict(UncodedOut(detail=SaidOut(error=fault.message)))
    status, body = _published(fault)
    return status, dict(body)


def _published(fault: Fault) -> tuple[int, Failure]:
    match fault.error:
        case NoCredentials():
            return 403, DeniedOut(detail="Not authenticated")
        case Unauthorized():
            return 401, DeniedOut(detail="Invalid or expired API key.")
        case RoleTooLow():
            return 401, DeniedOut(detail="Unauthorized role.")
        case HTTPException() as error if error.status_code in (404, 405):
            return error.status_code, DeniedOut(detail=HTTPStatus(error.status_code).phrase)
        case RequestValidationError() as error:
            return 422, MalformedOut(detail=[_finding(found) for found in error.errors()])
        case Refused() as error if error.stable_code == Refused.code:
            found = FindingOut(loc=["body"], msg=error.message, type="json_invalid")
            return 422, MalformedOut(detail=[found])
        case Invalid() as error if error.problems:
            return 422, MalformedOut(detail=[_problem(found) for found in error.problems])
        case Undispatched() as error:
            # The same key finishes the dispatch, and without one the sweeper does.
            run = spelled("cbwr_", error.run_id)
            message = (
                "Workflow run was created but could not be dispatched. "
                f"Retry with the same workflow run id ({run})."
            )
            return 502, RefusedOut(detail=CodedOut(code=fault.code, message=message))
        case Invalid():
            return 400, _coded(fault)
    return fault.status, _coded(fault)


def _coded(fault: Fault) -> RefusedOut:
    return RefusedOut(detail=CodedOut(code=fault.code, message=fault.message))


def _problem(problem: Problem) -> FindingOut:
    return FindingOut(loc=[*problem.path.split(".")], msg=problem.message, type="value_error")


def _finding(found: Mapping[str, Any]) -> FindingOut:
    """One finding of pydantic, without the value that it found."""
    return FindingOut(loc=list(found["loc"]), msg=found["msg"], type=found["type"])


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The declared error answers of a route: those given and those that every route has."""
    shapes: dict[int, Any] = {401: DeniedOut, 403: DeniedOut, 422: MalformedOut}
    every = sorted({401, 403, 422, 500, 503, *statuses})
    return declared({status: shapes.get(status, RefusedOut) for status in every})


#: What a body can do wrong besides not fitting its schema.
BODY = (408, 413, 415)
