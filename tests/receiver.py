"""A small HTTP server that remembers every delivery: the witness of what steps really did.

The path decides the answer:

* `/slow/SECONDS/…` answers after that long.
* `/first/SECONDS/…` answers the first delivery of that path after that long, and others at once.
* `/held/…` answers when `released` is set.
* `/status/CODE/…` answers with that status.
* `/flaky/N/…` answers 503 to the first N deliveries of that path, then 200.
* `/each/N/…` answers 503 to every Nth delivery of that path, and 200 to the others.
* `/big/BYTES/…` answers that many bytes of text.
* anything else answers 200 at once.

The body of an answer is JSON: `{"path", "n"}`, `n` counting deliveries of that path from 1.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Delivery:
    """One request as it arrived, `at` seconds of the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")


@dataclass
class Receiver:
    """Listens on a free loopback port from `async with` on."""

    deliveries: list[Delivery] = field(default_factory=list)
    answered: int = 0
    #: Requests that somebody is still waiting for an answer to.
    waiting: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _server: asyncio.Server | None = None
    _seen: Counter[str] = field(default_factory=Counter)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def count(self, path: str) -> int:
        """Deliveries to paths that start so."""
        return sum(delivery.path.startswith(path) for delivery in self.deliveries)

    def keys(self, path: str = "/") -> Counter[str]:
        """Deliveries by idempotency key."""
        return Counter(d.key for d in self.deliveries if d.path.startswith(path))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (delivery := await _read(reader)) is not None:
                self.deliveries.append(delivery)
                self._seen[delivery.path] += 1
                n = self._seen[delivery.path]
                writer.write(await self._answered(delivery, n, reader))
                await writer.drain()
                self.answered += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answered(self, delivery: Delivery, n: int, reader: asyncio.StreamReader) -> bytes:
        """The answer to the nth delivery of its path, unless the client goes before it is due."""
        answer = asyncio.create_task(self._answer(delivery, n))
        self.waiting += 1
        try:
            while not answer.done():
                if reader.at_eof():
                    raise ConnectionResetError
                await asyncio.wait({answer}, timeout=0.1)
            return answer.result()
        finally:
            answer.cancel()
            self.waiting -= 1

    async def _answer(self, delivery: Delivery, n: int) -> bytes:
        status = 200
        text = json.dumps({"path": delivery.path, "n": n}).encode()
        match delivery.path.split("?")[0].split("/")[1:3]:
            case ["slow", seconds]:
                await asyncio.sleep(float(seconds))
            case ["first", seconds] if n == 1:
                await asyncio.sleep(float(seconds))
            case ["held", *_]:
                await self.released.wait()
            case ["status", code]:
                status = int(code)
            case ["flaky", failures]:
                status = 503 if n <= int(failures) else 200
            case ["each", many]:
                status = 503 if n % int(many) == 0 else 200
            case ["big", size]:
                text = json.dumps("x" * int(size)).encode()
            case _:
                pass
        head = (
            f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n"
            f"content-length: {len(text)}\r\n\r\n"
        )
        return head.encode() + text


async def _read(reader: asyncio.StreamReader) -> Delivery | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Delivery(method, path, headers, body, time.monotonic())
