"""A server on loopback that counts who comes and answers what a test tells it to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from activities.clients.egress import Egress
from activities.clients.http import HttpDoor, HttpDoorError

Send = Callable[[bytes], Awaitable[None]]
Answer = Callable[[bytes, Send], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


LOOPBACK = Egress.parse("127.0.0.0/8")


def message(body: bytes, *headers: bytes) -> bytes:
    """An answer with a body of a stated length."""
    return b"\r\n".join(
        [b"HTTP/1.1 200 OK", *headers, b"Content-Length: %d" % len(body), b"", body]
    )


async def failure(door: HttpDoor, url: str, **arguments: Any) -> HttpDoorError:
    """The error of a request that must fail."""
    method: str = arguments.pop("method", "GET")
    timeout: float = arguments.pop("timeout", 30)
    with pytest.raises(HttpDoorError) as caught:
        await door.request(method, url, timeout=timeout, **arguments)
    return caught.value


@dataclass
class Peer:
    """What a server saw."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def headers(self, index: int = -1) -> list[str]:
        """The lines of a request's head, names in lower case."""
        lines = self.requests[index].split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return [f"{name.lower()}: {value}" for name, value in (x.split(": ", 1) for x in lines)]


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.partition(b":")[2]))
    return head


def says(*parts: bytes, close: bool = False) -> Answer:
    """Answer every request with these bytes."""

    async def answer(_: bytes, send: Send) -> None:
        for part in parts:
            await send(part)
        if close:
            raise EOFError

    return answer


@asynccontextmanager
async def serve(
    answer: Answer | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Peer]:
    """Run a server while the block lasts; an answer that raises EOFError closes the connection."""
    peer = Peer()
    answer = answer or says(OK)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        peer.writers.append(writer)

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            while True:
                request = await _read_request(reader)
                peer.requests.append(request)
                await answer(request, send)
        except (EOFError, OSError):  # the client left, or the answer is to close
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, port, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for writer in peer.writers:
            writer.close()
