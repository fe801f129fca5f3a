"""An answer of the outgoing door that is read piece by piece keeps to the same rules."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.clients.egress import Egress
from activities.clients.http import HttpDoor, HttpDoorError
from tests.steps.http_door_peer import LOOPBACK, Answer, Send, message, says, serve

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: slow\r\n\r\n"


@pytest.fixture
async def door() -> AsyncIterator[HttpDoor]:
    async with HttpDoor(LOOPBACK) as door:
        yield door


async def read(door: HttpDoor, url: str, **arguments: Any) -> bytes:
    stream = await door.open("POST", url, content=b"{}", **({"timeout": 30} | arguments))
    try:
        return b"".join([chunk async for chunk in stream.chunks()])
    finally:
        await stream.aclose()


async def failure(door: HttpDoor, url: str, **arguments: Any) -> HttpDoorError:
    with pytest.raises(HttpDoorError) as caught:
        await read(door, url, **arguments)
    return caught.value


async def test_a_piece_is_there_before_the_next_one_is_sent(door: HttpDoor) -> None:
    goes_on = asyncio.Event()

    async def answer(_: bytes, send: Send) -> None:
        await send(HEAD + b"3\r\none\r\n")
        await goes_on.wait()
        await send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serve(answer) as peer:
        stream = await door.open("POST", peer.url, content=b"{}", timeout=30)
        assert (stream.status_code, stream.headers["x-kind"]) == (200, "slow")
        pieces = stream.chunks()
        assert await anext(pieces) == b"one"
        goes_on.set()
        assert [piece async for piece in pieces] == [b"two"]
        await stream.aclose()
        assert await read(door, peer.url) == b"onetwo"
    assert peer.connections == 1


async def test_what_is_given_up_ends_the_connection(door: HttpDoor) -> None:
    left = asyncio.Event()

    async def answer(_: bytes, send: Send) -> None:
        await send(HEAD)
        try:
            while True:
                await send(b"1\r\nx\r\n")
                await asyncio.sleep(0.01)
        except OSError:
            left.set()
            raise

    async with serve(answer) as peer:
        stream = await door.open("POST", peer.url, content=b"{}", timeout=30)
        assert await anext(stream.chunks()) == b"x"
        await stream.aclose()
        async with asyncio.timeout(30):
            await left.wait()


async def test_gzip_is_undone(door: HttpDoor) -> None:
    packed = message(gzip.compress(b"one" * 1_000, mtime=0), b"Content-Encoding: gzip")
    async with serve(says(packed)) as peer:
        assert await read(door, peer.url) == b"one" * 1_000


async def never_ends(_: bytes, send: Send) -> None:
    await send(HEAD + b"3\r\none\r\n")
    await asyncio.sleep(3_600)


@pytest.mark.parametrize(
    ("answer", "arguments", "code"),
    [
        (says(message(b"x" * 100)), {"max_bytes": 99}, "response_too_large"),
        (
            says(HEAD, b"64\r\n", b"x" * 100, b"\r\n0\r\n\r\n"),
            {"max_bytes": 99},
            "response_too_large",
        ),
        (
            says(message(gzip.compress(b"x" * 10_000), b"Content-Encoding: gzip")),
            {"max_bytes": 500},
            "response_too_large",
        ),
        (
            says(message(gzip.compress(b"x" * 100)[:-4], b"Content-Encoding: gzip")),
            {},
            "bad_response",
        ),
        (says(message(b"x", b"Content-Encoding: br")), {}, "bad_response"),
        (says(b"nonsense\r\n\r\n"), {}, "bad_response"),
        (says(HEAD, b"3\r\none\r\n", close=True), {}, "connection_lost"),
        (never_ends, {"timeout": 0.5}, "timeout"),
    ],
)
async def test_what_does_not_come_to_its_end(
    door: HttpDoor, answer: Answer, arguments: dict[str, Any], code: str
) -> None:
    async with serve(answer) as peer:
        assert (await failure(door, peer.url, **arguments)).code == code


async def test_nothing_is_sent_to_where_nothing_may_go() -> None:
    async with HttpDoor(Egress.parse("")) as door, serve() as peer:
        assert (await failure(door, peer.url)).code == "egress_refused"
    assert peer.connections == 0


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(door: HttpDoor) -> None:
    """The second request goes out on a connection that its peer has closed, and is repeated."""
    closing = asyncio.Event()

    async def answer(request: bytes, send: Send) -> None:
        await send(message(b"ok"))
        if not closing.is_set():
            closing.set()
            raise EOFError

    async with serve(answer) as peer:
        assert await read(door, peer.url) == b"ok"
        assert await read(door, peer.url) == b"ok"
    assert len(peer.requests) == 2
