"""The one outgoing HTTP door: every step, webhook and model call leaves the house through it.

    HttpDoor.request, HttpDoor.open
      outgoing.py   what may be sent       URL, method and headers, before a byte is sent
      guard.py      where it may go        resolve once, judge every address, dial what was judged
      egress.py     who decides            public addresses, and SIGNALBOX_EGRESS_ALLOW
      answers.py    what comes back        whole or piece by piece, or why not
      body.py       how much of it         a cap that holds after decompression too

It follows no redirect, reads no proxy from the environment and has a deadline over everything.
It stands on the connection pool of `httpx2` (`httpcore2`) and not on its client: the pool takes
the guard as a public argument, while the client would have to be opened up for it, logs whole
URLs, and costs a third more CPU a request.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Self

import httpcore2

from activities.clients import outgoing
from activities.clients.answers import (
    Code,
    HttpAnswer,
    HttpDoorError,
    HttpStream,
    Terms,
    read_body,
    read_headers,
)
from activities.clients.body import TooLarge, Unusable
from activities.clients.egress import Egress
from activities.clients.guard import GuardedBackend, dialled

__all__ = ["MAX_BYTES", "Code", "HttpAnswer", "HttpDoor", "HttpDoorError", "HttpStream"]

#: Bytes of an answer's body, unless the caller says otherwise.
MAX_BYTES = 8 * 1024 * 1024

_MAX_CONNECTIONS = 200
#: Seconds that an unused connection is kept. Under the 5 s after which common servers (uvicorn,
#: Node) close it, or requests would race with that.
_KEEP_ALIVE = 4.0
#: Seconds for look-up, connection and TLS each, within the caller's timeout.
_CONNECT_TIMEOUT = 10.0
#: Methods that may be sent again when a kept connection turns out to be dead (RFC 9110 §9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

# At DEBUG the pool would log headers of answers, cookies among them.
logging.getLogger("httpcore2").setLevel(logging.WARNING)


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
        request, terms = _prepare(
            method, url, headers, params, content, timeout=timeout, max_bytes=max_bytes
        )
        with terms.kept():
            async with asyncio.timeout(timeout):
                response = await self._send(request, terms.repeatable)
                try:
                    answer_headers = read_headers(response)
                    body = await read_body(response, answer_headers, terms)
                finally:
                    await response.aclose()
        return HttpAnswer(response.status, answer_headers, body, terms.url)

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: float,
        max_bytes: int = MAX_BYTES,
    ) -> HttpStream:
        """Send one request and answer as soon as the head has come; the caller closes the stream.

        Besides that all is as in `request`, and the request is taken for one that may be repeated.

        Raises:
            HttpDoorError: There is no answer; `code` says why.
        """
        request, terms = _prepare(
            method, url, headers, None, content, timeout=timeout, max_bytes=max_bytes
        )
        until = asyncio.get_running_loop().time() + timeout
        with terms.kept():
            async with asyncio.timeout_at(until):
                response = await self._send(request, repeatable=True)
            try:
                return HttpStream(response, terms, until)
            except (TooLarge, Unusable):
                await response.aclose()
                raise

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


def _prepare(
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    params: outgoing.Params | None,
    content: bytes | None,
    *,
    timeout: float,
    max_bytes: int,
) -> tuple[httpcore2.Request, Terms]:
    """What is to be sent.

    Raises:
        HttpDoorError: `bad_request`.
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
    return request, Terms(method, str(target), peer, repeatable, timeout, max_bytes)
