"""The input door: how much may come in, how long it may take, and what counts as JSON.

`Door` is pure ASGI and stands before everything else, so that a body is counted while it is read
and never gathered first. `parse` is the only reader of JSON that came from outside. The figures
are those of reliability §3.6.
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.errors import SignalboxError

#: Bytes of a request body.
LARGEST_BODY = 1 << 20
#: Seconds from the first byte of a request to the last of its body.
BODY_DEADLINE = 15.0
#: Seconds that all parts of an import are waited for.
IMPORT_DEADLINE = 600.0
DEEPEST = 64
MOST_NODES = 50_000
LONGEST_STRING = 256 << 10
_INT64 = range(-(1 << 63), 1 << 63)
#: Digits, and a sign, of a number that could be within 64 bits.
_INT64_DIGITS = 20


class Refused(SignalboxError):
    """The request could not be read."""

    code = "bad_request"

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, code=code)
        self.status = status


def malformed(message: str) -> Refused:
    """A 400 that says what is wrong with the body, without quoting it."""
    return Refused(400, "bad_request", message)


def parse(body: bytes, nodes: int = MOST_NODES) -> Any:
    """Read strict JSON of at most so many values.

    Raises:
        Refused: it is not UTF-8 or not JSON, has NaN, infinity, a number beyond 64 bits, a
            repeated key or half a surrogate pair, or is too deep or too large.
    """
    try:
        value = DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise malformed("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise malformed(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise too_deep() from None
    measure(value, nodes)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise malformed("The JSON has an object with the same key twice.")
    return found


def _integer(text: str) -> int:
    if len(text) > _INT64_DIGITS or (number := int(text)) not in _INT64:
        raise malformed("The JSON has an integer that does not fit into 64 bits.")
    return number


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise malformed("The JSON has a number that is too large.")
    return number


def _constant(text: str) -> float:
    raise malformed(f"The JSON has {text}, which is not JSON.")


#: Reads strict JSON; depth, nodes and strings are what `measure` bounds.
DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)


def too_deep() -> Refused:
    """A 400 for JSON that is nested too deep."""
    return malformed(f"The JSON is nested deeper than {DEEPEST} levels.")


def measure(value: Any, most: int = MOST_NODES) -> None:
    """Bound depth, nodes and strings; level by level, so that depth costs no recursion.

    Raises:
        Refused: it is too deep or too large.
    """
    level: list[Any] = [value]
    nodes = 0
    depth = 0
    while level:
        nodes += len(level)
        if nodes > most:
            raise malformed(f"The JSON has more than {most} values.")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _measure_string(item)
            elif isinstance(item, dict | list):
                if depth == DEEPEST:
                    raise too_deep()
                below += _inside(item)
        level = below
        depth += 1


def _inside(item: dict[str, Any] | list[Any]) -> Iterable[Any]:
    if isinstance(item, list):
        return item
    for key in item:
        _measure_string(key)
    return item.values()


def _measure_string(text: str) -> None:
    if len(text) > LONGEST_STRING:
        raise malformed(f"The JSON has a string of more than {LONGEST_STRING} characters.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise malformed("The JSON has half of a surrogate pair.") from None


#: What users have put in is never guessed to be a page, and never kept by a cache.
_MARKS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def _marked(send: Send) -> Send:
    """A `send` that puts on every answer the marks that it does not have."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            present = {name.lower() for name, _ in headers}
            headers += (mark for mark in _MARKS if mark[0] not in present)
            message["headers"] = headers
        await send(message)

    return marked


@dataclass(frozen=True)
class Bounds:
    """What a body may be: bytes, and seconds that all of its parts are waited for."""

    largest: int = LARGEST_BODY
    deadline: float = BODY_DEADLINE


class Door:
    """ASGI middleware: refuses bodies that are too large or too slow.

    Args:
        app: what stands behind the door.
        answer: makes the response to what is refused before anything has read the body.
        bounds: of every body; the usual ones when not given.
        others: of those that are sent to these paths, in which `*` stands for one segment.
    """

    def __init__(
        self,
        app: ASGIApp,
        answer: Callable[[str, Refused], Response],
        bounds: Bounds | None = None,
        others: Mapping[str, Bounds] = MappingProxyType({}),
    ) -> None:
        self._app = app
        self._answer = answer
        self._bounds = bounds or Bounds()
        self._others = {tuple(path.split("/")): other for path, other in others.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, with a `receive` that counts and looks at the clock."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bounds = self._bounds_of(scope["path"])
        refused = _refuse_unread(scope, bounds)
        if refused is not None:
            await self._answer(scope["path"], refused)(scope, receive, _marked(send))
            return
        await self._app(scope, _counting(receive, bounds), _marked(send))

    def _bounds_of(self, path: str) -> Bounds:
        segments = path.split("/")
        for pattern, bounds in self._others.items():
            if len(pattern) == len(segments) and all(
                wanted in ("*", sent) for wanted, sent in zip(pattern, segments, strict=True)
            ):
                return bounds
        return self._bounds


def _refuse_unread(scope: Scope, bounds: Bounds) -> Refused | None:
    """What the headers alone give away."""
    named = {
        name: value
        for name, value in scope["headers"]
        if name in (b"content-length", b"transfer-encoding", b"content-encoding")
    }
    length = named.get(b"content-length")
    if length is not None and b"transfer-encoding" in named:
        return malformed("A body has a length or is chunked, not both.")
    if length is not None and not (length.isdigit() and len(length) <= _INT64_DIGITS):
        return malformed("Content-Length is not a number.")
    if length is not None and int(length) > bounds.largest:
        return _too_large(bounds)
    if named.get(b"content-encoding", b"identity").lower() != b"identity":
        return Refused(415, "unsupported_media_type", "A compressed body is not accepted.")
    return None


def _too_large(bounds: Bounds) -> Refused:
    return Refused(413, "payload_too_large", f"The body is larger than {bounds.largest} bytes.")


def _counting(receive: Receive, bounds: Bounds) -> Receive:
    """A `receive` that counts bytes, and the seconds that the client lets us wait."""
    clock = asyncio.get_running_loop().time
    left = bounds.deadline
    size = 0
    complete = False

    async def counted() -> Message:
        nonlocal left, size, complete
        if complete:
            return await receive()
        began = clock()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise Refused(
                408, "request_timeout", f"The body took longer than {bounds.deadline:g} s."
            ) from None
        left -= clock() - began
        size += len(message.get("body", b""))
        if size > bounds.largest:
            raise _too_large(bounds)
        complete = not message.get("more_body", False)
        return message

    return counted
