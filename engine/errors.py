"""Every error that Signalbox raises on purpose.

    SignalboxError
    ├── NotFound        absent, or of another organisation: both look the same
    ├── Conflict        the thing exists and its state forbids the request
    ├── Stale           it is no longer what the caller has read
    ├── Invalid         understood and refused; `problems` says where
    ├── Forbidden       the caller is known and may not
    ├── Unauthorized    the caller is not known
    ├── Unavailable     something that we depend on does not answer; try again
    └── StepError       a step failed; `retryable` says whether trying again can help

A `code` is stable and lower_snake; the message is for people. Which HTTP status belongs to a kind
is decided in `app.surfaces`, because this room does not know HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a document, and where.

    Attributes:
        message: a whole sentence that names the step.
        step: the id of the step, when the problem belongs to one.
        path: where in the document, as in `steps.0.config.url`; empty for the whole.
    """

    message: str
    step: str | None = None
    path: str = ""


class SignalboxError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.stable_code = code or self.code
        super().__init__(self.message)


class NotFound(SignalboxError):
    """There is no such thing."""

    code = "not_found"


class Conflict(SignalboxError):
    """The present state does not allow it."""

    code = "conflict"


class Stale(SignalboxError):
    """It has changed since it was read."""

    code = "precondition_failed"


class Invalid(SignalboxError):
    """The request was understood and is not valid."""

    code = "validation_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        problems: Sequence[Problem] = (),
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.problems = list(problems)


class Forbidden(SignalboxError):
    """The key's role does not allow it."""

    code = "forbidden"


class Unauthorized(SignalboxError):
    """A valid API key is needed."""

    code = "unauthorized"


class Unavailable(SignalboxError):
    """A service that this one depends on does not answer; try again."""

    code = "unavailable"


class StepError(SignalboxError):
    """The step failed."""

    code = "step_failed"

    def __init__(
        self, code: str, message: str, *, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retryable = retryable
        #: Seconds that whoever refused asked to be left alone.
        self.retry_after = retry_after
