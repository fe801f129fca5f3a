"""The other side of the demonstration's steps: answers slowly, and writes down what arrives.

It watches the connection while it lets the caller wait, so it knows which answer found nobody to
take it: that is how the kill of the worker looks from outside.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from pydantic import JsonValue

HOST = "127.0.0.1"
#: Bytes of a request's head; ours are far smaller.
_LONGEST_HEAD = 64 * 1024


@dataclass
class Delivery:
    """One request as it arrived.

    Attributes:
        request: method and path, as in `GET /data`.
        key: its `Idempotency-Key`.
        body: what came with it, decoded.
        answered: None while the caller waits; then whether it was still there to be answered.
    """

    request: str
    key: str
    body: JsonValue
    answered: bool | None = None


@dataclass
class Receiver:
    """Listens on a free loopback port from `async with` on.

    Attributes:
        answers: what each request is answered, by method and path.
        slow: seconds that the caller of each request waits; 0 for those that are not named.
        tell: called when a delivery has arrived, and again when it is over.
    """

    answers: dict[str, JsonValue]
    slow: dict[str, float]
    tell: Callable[[Delivery], None]
    deliveries: list[Delivery] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0, limit=_LONGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://{HOST}:{self.port}{path}"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                delivery = await _read(reader)
            except (ConnectionError, asyncio.IncompleteReadError, ValueError):
                return
            self.deliveries.append(delivery)
            self.tell(delivery)
            delivery.answered = await self._answer(delivery.request, reader, writer)
            self.tell(delivery)

    async def _answer(
        self, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Let the caller wait, then answer it, unless it has gone meanwhile."""
        gone = asyncio.ensure_future(reader.read(1))
        try:
            done, _ = await asyncio.wait({gone}, timeout=self.slow.get(request, 0))
            if done:
                return False
            writer.write(_encode(request in self.answers, self.answers.get(request)))
            await writer.drain()
        except ConnectionError:
            return False
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        return True


async def _read(reader: asyncio.StreamReader) -> Delivery:
    """Read one request.

    Raises:
        ConnectionError, asyncio.IncompleteReadError: the caller has gone.
        ValueError: it is no HTTP.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ValueError("the head is too long") from error
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    body: JsonValue = json.loads(content) if content else None
    return Delivery(f"{method} {path}", headers.get("idempotency-key", ""), body)


def _encode(known: bool, answer: JsonValue) -> bytes:
    content = json.dumps(answer).encode()
    status = "200 OK" if known else "404 Not Found"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + content
