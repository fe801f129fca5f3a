"""What the outgoing door takes back, and what it says when there is nothing to take back."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.clients.http import HttpDoor
from tests.steps.http_door_peer import LOOPBACK, OK, Send, failure, message, says, serve


@pytest.fixture
async def door() -> AsyncIterator[HttpDoor]:
    async with HttpDoor(LOOPBACK) as door:
        yield door


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (OK, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 No\r\nContent-Encoding: gzip\r\n\r\n", b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx", b"x"),
        (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, b"{}"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            b"abc",
        ),
        (message(gzip.compress(b"one", mtime=0), b"Content-Encoding: gzip"), b"one"),
        (
            message(
                gzip.compress(b"1", mtime=0) + gzip.compress(b"2", mtime=0),
                b"Content-Encoding: X-GZIP",
            ),
            b"12",
        ),
        (message(gzip.compress(b"", mtime=0), b"Content-Encoding: gzip"), b""),
    ],
)
async def test_answers_of_many_shapes(door: HttpDoor, raw: bytes, content: bytes) -> None:
    async with serve(says(raw)) as peer:
        answer = await door.request("GET", peer.url, timeout=30)
    assert answer.content == content


async def test_headers_are_lower_case_and_joined(door: HttpDoor) -> None:
    async with serve(says(message(b"", b"X-A: 1", b"x-a: 2", b"X-L: \xe4"))) as peer:
        answer = await door.request("GET", peer.url, timeout=30)
    assert (answer.headers["x-a"], answer.headers["x-l"]) == ("1, 2", "ä")


async def test_a_head_request_may_announce_more_than_the_cap(door: HttpDoor) -> None:
    async with serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")) as peer:
        answer = await door.request("HEAD", peer.url, timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")


async def _for_ever(_: bytes, send: Send) -> None:
    await send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await send(b"x" * 65536)


async def _tiny_chunks_for_ever(_: bytes, send: Send) -> None:
    await send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await send(b"1\r\nx\r\n" * 500)


async def _members_for_ever(_: bytes, send: Send) -> None:
    await send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    while True:
        await send(gzip.compress(b"", mtime=0) * 500)


BOMB = gzip.compress(bytes(64 * 1024 * 1024))


@pytest.mark.parametrize(
    "answer",
    [
        _for_ever,
        _tiny_chunks_for_ever,
        _members_for_ever,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"),
        says(message(b"x" * 100_001)),
        says(message(BOMB, b"Content-Encoding: gzip")),
    ],
)
async def test_a_body_over_the_cap_is_cut_off(door: HttpDoor, answer: Any) -> None:
    async with serve(answer) as peer:
        error = await failure(door, peer.url, max_bytes=100_000)
        assert (error.code, error.retryable) == ("response_too_large", False)
        assert "100000 bytes" in str(error)
        # The connection with the rest of the body on it is not used again.
        await failure(door, peer.url, max_bytes=100_000)
        assert peer.connections == 2


@pytest.mark.parametrize("encoding", [b"gzip", b"identity"])
async def test_a_body_of_exactly_the_cap_is_taken(door: HttpDoor, encoding: bytes) -> None:
    body = bytes(range(256)) * 400
    packed = gzip.compress(body, mtime=0) if encoding == b"gzip" else body
    async with serve(says(message(packed, b"Content-Encoding: " + encoding))) as peer:
        answer = await door.request("GET", peer.url, timeout=30, max_bytes=len(body))
        assert answer.content == body
        assert (await failure(door, peer.url, max_bytes=len(body) - 1)).code == "response_too_large"


async def test_a_bomb_is_never_in_memory(door: HttpDoor) -> None:
    async with serve(says(message(BOMB, b"Content-Encoding: gzip"))) as peer:
        tracemalloc.start()
        try:
            await failure(door, peer.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 32 * 1024 * 1024  # the cap of 8 MiB, twice while the buffer grows, and the rest


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "connection_lost"),
        (b"HTTP/1.1 200", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "connection_lost"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", "connection_lost"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 99 Low\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 400_000 + b"\r\n\r\n", "bad_response"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 50_000 + b"\r\n", "bad_response"),
        (message(b"x", b"Content-Encoding: br"), "bad_response"),
        (message(b"x", b"Content-Encoding: gzip, gzip"), "bad_response"),
        (message(b"plain", b"Content-Encoding: gzip"), "bad_response"),
        (message(zlib.compress(b"x"), b"Content-Encoding: gzip"), "bad_response"),
        (
            message(gzip.compress(b"cut short", mtime=0)[:-4], b"Content-Encoding: gzip"),
            "bad_response",
        ),
    ],
)
async def test_what_is_not_an_answer(door: HttpDoor, raw: bytes, code: str) -> None:
    async with serve(says(raw, close=True)) as peer:
        error = await failure(door, peer.url)
    assert error.code == code
    assert error.retryable is (code == "connection_lost")
    assert f"127.0.0.1:{peer.port}" in str(error)


async def _silence(_: bytes, send: Send) -> None:
    await asyncio.sleep(3600)


async def _drip(_: bytes, send: Send) -> None:
    await send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await send(b"x")
        await asyncio.sleep(0.02)


async def _drip_the_head(_: bytes, send: Send) -> None:
    await send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await send(b"X-A: 1\r\n")
        await asyncio.sleep(0.02)


async def _hints_for_ever(_: bytes, send: Send) -> None:
    while True:
        await send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50)


@pytest.mark.parametrize("answer", [_silence, _drip, _drip_the_head, _hints_for_ever])
async def test_the_timeout_covers_the_whole_answer(door: HttpDoor, answer: Any) -> None:
    async with serve(answer) as peer:
        async with asyncio.timeout(30):
            error = await failure(door, peer.url, timeout=0.5)
        assert (error.code, error.retryable) == ("timeout", True)
        assert "0.5 s" in str(error)
        assert peer.connections == 1


async def test_a_cancelled_request_is_cancelled_and_its_connection_closed(door: HttpDoor) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def wait(_: bytes, send: Send) -> None:
        arrived.set()
        try:
            while True:
                await send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await asyncio.sleep(0.02)
        except OSError:
            left.set()
            raise

    async with serve(wait) as peer, asyncio.timeout(30):
        task = asyncio.create_task(door.request("GET", peer.url, timeout=60))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()


async def test_nobody_there(door: HttpDoor) -> None:
    async with serve() as peer:
        pass
    error = await failure(door, peer.url)
    assert (error.code, error.retryable) == ("connect_failed", True)
    error = await failure(door, "http://no-such-host.invalid/")
    assert (error.code, error.retryable) == ("connect_failed", True)
    assert "no-such-host.invalid" in str(error)


@pytest.mark.parametrize(
    ("method", "headers", "sent"),
    [
        ("GET", {}, 3),
        ("POST", {"Idempotency-Key": "k"}, 3),
        ("POST", {}, 2),
    ],
)
async def test_a_dead_kept_connection_is_replaced_when_that_is_safe(
    door: HttpDoor, method: str, headers: dict[str, str], sent: int
) -> None:
    """The server takes the second request of its first connection and dies over it."""
    count = 0

    async def answer(_: bytes, send: Send) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise EOFError
        await send(OK)

    async with serve(answer) as peer:
        await door.request(method, peer.url, headers=headers, timeout=30)
        if sent == 3:
            await door.request(method, peer.url, headers=headers, timeout=30)
        else:
            error = await failure(door, peer.url, method=method, headers=headers)
            assert (error.code, error.retryable) == ("connection_lost", True)
    assert len(peer.requests) == sent


async def test_a_fresh_connection_that_dies_is_not_repeated(door: HttpDoor) -> None:
    async with serve(says(close=True)) as peer:
        assert (await failure(door, peer.url)).code == "connection_lost"
    assert len(peer.requests) == 1
