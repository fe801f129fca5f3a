"""What comes back through the outgoing HTTP door: an answer, whole or piece by piece, or an error.

Errors name host and port at most, because they end up in rows, events and logs.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass
from typing import Literal

import httpcore2

from activities.clients.body import Body, TooLarge, Unusable
from activities.clients.guard import Refused

#: Chunks between two breaths of the event loop: a server may send one byte a chunk.
_CHUNKS_A_TURN = 64
#: How the pool words an answer that stopped, as against one that is malformed.
_CUT = ("Server disconnected", "peer closed connection")

Code = Literal[
    "bad_request",
    "egress_refused",
    "connect_failed",
    "connection_lost",
    "timeout",
    "response_too_large",
    "bad_response",
]
_RETRYABLE = frozenset({"connect_failed", "connection_lost", "timeout"})


class HttpDoorError(Exception):
    """A request that brought no answer.

    The message names host and port at most: no path, query, header value or credential.

    Attributes:
        code: `bad_request` nothing was sent, the request is malformed; `egress_refused` nothing
            was sent, the address is not allowed; `connect_failed` nothing was sent, nobody
            answers there; `connection_lost` it ended before the answer did; `timeout`;
            `response_too_large`; `bad_response` what came back is not a usable HTTP answer.
        retryable: Whether the same request may well succeed later.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.retryable: bool = code in _RETRYABLE


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, whatever its status.

    Attributes:
        status_code: 200 to 599; a redirect is an answer like any other.
        headers: Lower-case names; several of one name are joined by `", "`.
        content: The body, decompressed.
        url: What was requested, query included, fragment dropped.
    """

    status_code: int
    headers: dict[str, str]
    content: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one request: what its errors name, and what its answer has to keep to.

    Attributes:
        url: with its query, without its fragment.
        peer: host and port, as errors name them.
        repeatable: it may be sent again when a kept connection turns out to be dead.
    """

    method: str
    url: str
    peer: str
    repeatable: bool
    timeout: float
    max_bytes: int

    @contextlib.contextmanager
    def kept(self) -> Generator[None]:
        """Say in our words what goes wrong inside.

        Raises:
            HttpDoorError: There is no answer, or no end of it.
        """
        try:
            yield
        except TooLarge:
            raise HttpDoorError(
                "response_too_large",
                f"The answer of {self.peer} is larger than {self.max_bytes} bytes.",
            ) from None
        except TimeoutError:
            raise HttpDoorError(
                "timeout", f"{self.peer} did not answer completely within {self.timeout:g} s."
            ) from None
        except Exception as exc:
            error = _translate(exc, self.peer)
            if error is None:
                raise
            raise error from None


class HttpStream:
    """An answer whose head has come, and whose body is read as it comes.

    Attributes:
        status_code: 200 to 599.
        headers: Lower-case names. Length and encoding are those of the connection, not of `chunks`.
    """

    def __init__(self, response: httpcore2.Response, terms: Terms, until: float) -> None:
        """Take an answer over; `until` is on the event loop's clock.

        Raises:
            TooLarge: It announces more than it may have.
            Unusable: It has no status of an answer, or its encoding cannot be undone.
        """
        self.status_code = response.status
        self.headers = read_headers(response)
        self._response = response
        self._terms = terms
        self._until = until
        self._body = _body(response, self.headers, terms)
        self._raw: AsyncGenerator[bytes] = response.aiter_stream()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body, decompressed, piece by piece; to be read once.

        Raises:
            HttpDoorError: It does not come to its end.
        """
        while True:
            # Only the waiting is under the deadline: it must not end what the reader does between.
            with self._terms.kept():
                async with asyncio.timeout_at(self._until):
                    chunk = await anext(self._raw, None)
                    # A server may send one byte a chunk; the event loop has to breathe.
                    await asyncio.sleep(0)
                if chunk is None:
                    self._body.finish()
                    return
                content = self._body.feed(chunk)
            if content:
                yield content

    async def aclose(self) -> None:
        """End the answer here; what is left of it ends with its connection."""
        await self._raw.aclose()
        await self._response.aclose()


def read_headers(response: httpcore2.Response) -> dict[str, str]:
    """The headers of an answer: lower-case names; several of one name are joined by `", "`."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _body(response: httpcore2.Response, headers: Mapping[str, str], terms: Terms) -> Body:
    """What takes the body in.

    Raises:
        TooLarge: It announces that it will pass the cap.
        Unusable: It has no status of an answer, or its encoding cannot be undone.
    """
    if response.status < 200:
        raise Unusable(f"it has the status {response.status}")
    body = Body(headers.get("content-encoding", ""), terms.max_bytes)
    # The pool has checked that a Content-Length is a number.
    if terms.method != "HEAD" and int(headers.get("content-length", "0")) > terms.max_bytes:
        raise TooLarge
    return body


async def read_body(
    response: httpcore2.Response, headers: Mapping[str, str], terms: Terms
) -> bytes:
    """Read the whole body.

    Raises:
        TooLarge: It passes the cap, or announces that it will.
        Unusable: It has no status of an answer, or its encoding cannot be undone.
    """
    body, content = _body(response, headers, terms), bytearray()
    chunks: AsyncGenerator[bytes] = response.aiter_stream()
    async with contextlib.aclosing(chunks):
        count = 0
        async for chunk in chunks:
            content += body.feed(chunk)
            count += 1
            if count % _CHUNKS_A_TURN == 0:
                await asyncio.sleep(0)
    body.finish()
    return bytes(content)


def _translate(exc: Exception, peer: str) -> HttpDoorError | None:
    """Say what went wrong in our words; None for what is a defect of ours."""
    match exc:
        case Refused():
            return HttpDoorError("egress_refused", f"Not sent: {exc}")
        case httpcore2.ConnectTimeout():
            return HttpDoorError("timeout", f"No connection to {peer} in time.")
        case httpcore2.ConnectError():
            return HttpDoorError("connect_failed", f"No connection to {peer}: {_reason(exc)}.")
        case httpcore2.NetworkError():
            return HttpDoorError("connection_lost", f"The connection to {peer} was lost.")
        case httpcore2.RemoteProtocolError() if str(exc).startswith(_CUT):
            return HttpDoorError("connection_lost", f"{peer} closed the connection too early.")
        case httpcore2.ProtocolError():
            return HttpDoorError("bad_response", f"{peer} did not answer in HTTP.")
        case Unusable():
            return HttpDoorError("bad_response", f"The answer of {peer} is unusable: {exc}.")
    return None


def _reason(exc: BaseException) -> str:
    """The innermost reason of a failed connection, such as `Connection refused`."""
    while (cause := exc.__cause__ or exc.__context__) is not None:
        exc = cause
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror[:200]
    return str(exc)[:200] or "unknown reason"
