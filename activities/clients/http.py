"""The one outgoing HTTP door: every step, webhook and model call leaves the house through it.

    HttpDoor.request
      outgoing.py   what may be sent       URL, method and headers, before a byte is sent
      guard.py      where it may go        resolve once, judge every address, dial what was judged
      egress.py     who decides            public addresses, and SIGNALBOX_EGRESS_ALLOW
      body.py       what may come back     a cap that holds after decompression too

It follows no redirect, reads no proxy from the environment and has a deadline over everything.
It stands on the connection pool of `httpx2` (`httpcore2`) and not on its client: the pool takes
the guard as a public argument, while the client would have to be opened up for it, logs whole
URLs, and costs a third more CPU a request.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Self

import httpcore2

from activities.clients import outgoing
from activities.clients.body import Body, TooLarge, Unusable
from activities.clients.egress import Egress
from activities.clients.guard import GuardedBackend, Refused, dialled

#: Bytes of an answer's body, unless the caller says otherwise.
MAX_BYTES = 8 * 1024 * 1024

_MAX_CONNECTIONS = 200
#: Seconds that an unused connection is kept. Under the 5 s after which common servers (uvicorn,
#: Node) close it, or requests would race with that.
_KEEP_ALIVE = 4.0
#: Seconds for look-up, connection and TLS each, within the caller's timeout.
_CONNECT_TIMEOUT = 10.0
#: Chunks between two breaths of the event loop: a server may send one byte a chunk.
_CHUNKS_A_TURN = 64
#: Methods that may be sent again when a kept connection turns out to be dead (RFC 9110 §9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
#: How the pool words an answer that stopped, as against one that is malformed.
_CUT = ("Server disconnected", "peer closed connection")

# At DEBUG the pool would log headers of answers, cookies among them.
logging.getLogger("httpcore2").setLevel(logging.WARNING)

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


class HttpDoor:
    """A connection pool behind the guard; one for the life of a process and its event loop."""

    def __init__(self, egress: Egress) -> None:
        """Open the door.

        Args:
            egress: What may be reached although it is not public.

        Raises:
            RuntimeError: The pool does not use the guard.
        """
        self._guard = GuardedBackend(egress)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_tls(),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_CONNECTIONS,
            keepalive_expiry=_KEEP_ALIVE,
            network_backend=self._guard,
        )
        # The argument is public and where the pool puts it is not; but a release that took the
        # argument and dropped it would open the door to everything, silently.
        if getattr(self._pool, "_network_backend", None) is not self._guard:
            raise RuntimeError("the HTTP library does not use the egress guard")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        self._guard.close()
        await self._pool.aclose()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: outgoing.Params | None = None,
        content: bytes | None = None,
        timeout: float,
        max_bytes: int = MAX_BYTES,
    ) -> HttpAnswer:
        """Send one request and read the whole answer.

        A request whose kept connection turns out to be dead is sent once more when that is safe:
        its method is idempotent, or it carries an `Idempotency-Key`.

        Args:
            method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.
            url: Absolute, http or https, without credentials, at most 8192 characters.
            headers: Not those of the connection (`Host`, `Content-Length`, …).
            params: Appended to the URL's query.
            content: The body.
            timeout: Seconds for everything, from look-up to the last byte.
            max_bytes: Cap on the body, before and after decompression.

        Raises:
            HttpDoorError: There is no answer; `code` says why.
        """
        try:
            target = outgoing.read_url(url, params)
            checked = outgoing.read_headers(headers)
            request = outgoing.build(method, target, checked, content)
        except ValueError as exc:
            raise HttpDoorError("bad_request", f"Not sent: {exc}.") from None
        request.extensions = {"timeout": {"connect": min(timeout, _CONNECT_TIMEOUT)}}
        peer = target.netloc.decode("ascii")
        repeatable = method in _IDEMPOTENT or "idempotency-key" in checked
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(request, repeatable)
                try:
                    answer_headers = _headers(response)
                    body = await _read(response, answer_headers, method, max_bytes)
                finally:
                    await response.aclose()
        except TooLarge:
            raise HttpDoorError(
                "response_too_large", f"The answer of {peer} is larger than {max_bytes} bytes."
            ) from None
        except TimeoutError:
            raise HttpDoorError(
                "timeout", f"{peer} did not answer completely within {timeout:g} s."
            ) from None
        except Exception as exc:
            error = _translate(exc, peer)
            if error is None:
                raise
            raise error from None
        return HttpAnswer(response.status, answer_headers, body, str(target))

    async def _send(self, request: httpcore2.Request, repeatable: bool) -> httpcore2.Response:
        """Send, and read the answer's head."""
        dialled.set(False)
        try:
            return await self._pool.handle_async_request(request)
        except (httpcore2.ReadError, httpcore2.RemoteProtocolError):
            if dialled.get() or not repeatable:
                raise
        # A server may close a kept connection just as the next request is on its way.
        return await self._pool.handle_async_request(request)


def _tls() -> ssl.SSLContext:
    """The system's certificate authorities, or those that `SSL_CERT_FILE` names."""
    return httpcore2.default_ssl_context()


def _headers(response: httpcore2.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _read(
    response: httpcore2.Response, headers: Mapping[str, str], method: str, max_bytes: int
) -> bytes:
    """Read the body.

    Raises:
        TooLarge: It passes the cap, or announces that it will.
        Unusable: It has no status of an answer, or its encoding cannot be undone.
    """
    if response.status < 200:
        raise Unusable(f"it has the status {response.status}")
    body = Body(headers.get("content-encoding", ""), max_bytes)
    # The pool has checked that a Content-Length is a number.
    if method != "HEAD" and int(headers.get("content-length", "0")) > max_bytes:
        raise TooLarge
    chunks: AsyncGenerator[bytes] = response.aiter_stream()
    async with aclosing(chunks):
        count = 0
        async for chunk in chunks:
            body.feed(chunk)
            count += 1
            if count % _CHUNKS_A_TURN == 0:
                await asyncio.sleep(0)
    return body.finish()


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
