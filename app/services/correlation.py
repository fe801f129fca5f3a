"""The number that a request, its answer, its line in the audit log and its error have in common."""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from uuid import uuid4

HEADER = b"x-correlation-id"
#: What is taken over from a request: nothing that a log or a header could stumble over.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@~-]{1,128}")
_current: ContextVar[str] = ContextVar("correlation")


def begin(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The number of the request that has these headers: its own if it has a sane one, else new."""
    given = [value for name, value in headers if name == HEADER]
    sane = len(given) == 1 and _SANE.fullmatch(given[0])
    number = given[0].decode() if sane else uuid4().hex
    _current.set(number)
    return number


def current() -> str:
    """The number of the request under way, or a new one where there is none."""
    return _current.get(None) or uuid4().hex
