"""Nothing inside is reached through the outgoing door, however it is spelled."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpcore2
import pytest

from activities.clients.egress import SETTING, Egress
from activities.clients.guard import GuardedBackend, Refused
from activities.clients.http import HttpDoor, HttpDoorError
from tests.steps.http_door_peer import Peer, says, serve

#: `{p}` is the trap's port. Hosts, notations, parser tricks and schemes that end at loopback with
#: one client or another.
BYPASSES = [
    "http://127.0.0.1:{p}/",
    "http://127.0.0.1:{p}",
    "HTTP://127.0.0.1:{p}/",
    "http://127.0.0.2:{p}/",
    "http://127.255.255.254:{p}/",
    "http://localhost:{p}/",
    "http://LOCALHOST:{p}/",
    "http://localhost.:{p}/",
    "http://0:{p}/",
    "http://0.0.0.0:{p}/",
    "http://00000000:{p}/",
    "http://0x0:{p}/",
    "http://127.1:{p}/",
    "http://127.0.1:{p}/",
    "http://127.0.0.1.:{p}/",
    "http://127.00.00.01:{p}/",
    "http://127.000.000.001:{p}/",
    "http://0x7f.1:{p}/",
    "http://0x7f.0.0.1:{p}/",
    "http://0X7F.0.0.1:{p}/",
    "http://0x7f000001:{p}/",
    "http://0x7F000001:{p}/",
    "http://0177.1:{p}/",
    "http://0177.0.0.1:{p}/",
    "http://00000177.0.0.1:{p}/",
    "http://017700000001:{p}/",
    "http://2130706433:{p}/",
    "http://02130706433:{p}/",
    "http://127.65535:{p}/",
    "http://127.0x1:{p}/",
    "http://127.0.0.0x1:{p}/",
    "http://0x7f.0x0.0x0.0x1:{p}/",
    "http://4294967296:{p}/",
    "http://425510585857:{p}/",
    "http://[::1]:{p}/",
    "http://[::]:{p}/",
    "http://[0:0:0:0:0:0:0:1]:{p}/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{p}/",
    "http://[::ffff:127.0.0.1]:{p}/",
    "http://[::ffff:7f00:1]:{p}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/",
    "http://[::127.0.0.1]:{p}/",
    "http://[64:ff9b::127.0.0.1]:{p}/",
    "http://[2002:7f00:1::]:{p}/",
    "http://[::1%25lo]:{p}/",
    "http://[::1%lo]:{p}/",
    "http://[fe80::1%lo]:{p}/",
    "http://127。0。0。1:{p}/",
    "http://127\uff0e0\uff0e0\uff0e1:{p}/",
    "http://\uff11\uff12\uff17.0.0.1:{p}/",
    "http://①②⑦.0.0.1:{p}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/",
    "http://loc\u00adalhost:{p}/",
    "http://127.0.0.1%2e:{p}/",
    "http://%31%32%37.0.0.1:{p}/",
    "http://127.0.0.1%00.example.com:{p}/",
    "http://user@127.0.0.1:{p}/",
    "http://user:pass@127.0.0.1:{p}/",
    "http://@127.0.0.1:{p}/",
    "http://example.com@127.0.0.1:{p}/",
    "http://example.com:80@127.0.0.1:{p}/",
    "http://example.com%40127.0.0.1:{p}/",
    "http://127.0.0.1:{p}#@example.com/",
    "http://127.0.0.1:{p}?@example.com/",
    "http://127.0.0.1:{p}\\@example.com/",
    "http://example.com\\@127.0.0.1:{p}/",
    "http://127.0.0.1\\.example.com:{p}/",
    "http:\\\\127.0.0.1:{p}/",
    "http:///127.0.0.1:{p}/",
    "http:/127.0.0.1:{p}/",
    "http:127.0.0.1:{p}/",
    "//127.0.0.1:{p}/",
    "127.0.0.1:{p}/",
    " http://127.0.0.1:{p}/",
    "http://127.0.0.1 :{p}/",
    "http://127.0.0.1:{p} .example.com/",
    "http://127.0.0.1\t:{p}/",
    "http://127.0.0.1\r\n:{p}/",
    "http://127.0.0.1:+{p}/",
    "http://127.0.0.1:0{p}/",
    "http://127.0.0.1:{p}:80/",
    "https://127.0.0.1:{p}/",
    "https://localhost:{p}/",
    "ws://127.0.0.1:{p}/",
    "ftp://127.0.0.1:{p}/",
    "gopher://127.0.0.1:{p}/",
    "unix:///127.0.0.1:{p}",
    "http+unix://127.0.0.1:{p}/",
    "jar:http://127.0.0.1:{p}/",
    "url:http://127.0.0.1:{p}/",
    "http://inside.attacker.example:{p}/",
    "http://six.attacker.example:{p}/",
    "http://mapped.attacker.example:{p}/",
    "http://mixed.attacker.example:{p}/",
    "http://mixed-last.attacker.example:{p}/",
]
#: What hostile name servers answer. The public addresses are never dialled.
ZONE = {
    b"inside.attacker.example": ["127.0.0.1"],
    b"six.attacker.example": ["::1"],
    b"mapped.attacker.example": ["::ffff:127.0.0.1"],
    b"mixed.attacker.example": ["127.0.0.1", "93.184.215.14"],
    b"mixed-last.attacker.example": ["93.184.215.14", "127.0.0.1"],
}

Resolver = Callable[..., list[Any]]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, list[str]]:
    """Names that the test answers for; all others go to the system's resolver."""
    names = dict(ZONE)
    real: Resolver = socket.getaddrinfo

    def getaddrinfo(host: Any, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in names:
            return real(host, port, *args, **kwargs)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in names[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.fixture
async def traps() -> AsyncIterator[list[Peer]]:
    """Internal servers on one port of every loopback address that this machine has."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serve())
        peers = [first]
        if socket.has_ipv6:
            try:
                peers.append(await stack.enter_async_context(serve(host="::1", port=first.port)))
            except OSError:  # IPv6 is compiled in and switched off
                assert peers == [first]
        yield peers


async def _try(door: HttpDoor, url: str) -> str:
    try:
        await door.request("GET", url, timeout=30)
    except HttpDoorError as exc:
        return exc.code
    return "answered"


@pytest.mark.usefixtures("zone")
async def test_no_spelling_reaches_a_server_inside(traps: list[Peer]) -> None:
    async with HttpDoor(Egress()) as door:
        results = {url: await _try(door, url.format(p=traps[0].port)) for url in BYPASSES}
    assert len(results) >= 60
    assert [peer.connections for peer in traps] == [0] * len(traps)
    wrong = {u: r for u, r in results.items() if r in ("answered", "timeout", "connection_lost")}
    assert wrong == {}


@pytest.mark.usefixtures("zone")
async def test_the_same_spellings_do_reach_it_when_the_deployment_allows(
    traps: list[Peer],
) -> None:
    urls = [url for url in BYPASSES if url.startswith("http://") and "mixed" not in url]
    async with HttpDoor(Egress.parse("127.0.0.0/8, ::1, 0.0.0.0/32")) as door:
        results = [await _try(door, url.format(p=traps[0].port)) for url in urls]
    assert results.count("answered") >= 25  # so the refusals above are the guard's doing


async def test_a_refusal_names_host_class_and_remedy(traps: list[Peer]) -> None:
    port = traps[0].port
    async with HttpDoor(Egress()) as door:
        with pytest.raises(HttpDoorError) as caught:
            await door.request("GET", f"http://localhost:{port}/p4th?token=s3cret", timeout=30)
    error = caught.value
    assert (error.code, error.retryable) == ("egress_refused", False)
    for part in ("localhost", "127.0.0.1", "loopback", SETTING, f"localhost:{port}"):
        assert part in str(error)
    assert "p4th" not in str(error)
    assert "s3cret" not in str(error)


async def test_the_remedy_that_a_refusal_names_is_one(traps: list[Peer]) -> None:
    port = traps[0].port
    for host in ("127.0.0.1", "localhost", "0x7f.1", "2130706433"):
        async with HttpDoor(Egress()) as door:
            with pytest.raises(HttpDoorError) as caught:
                await door.request("GET", f"http://{host}:{port}/", timeout=30)
        entry = str(caught.value).rpartition(" ")[2].removesuffix(".")
        async with HttpDoor(Egress.parse(entry)) as door:
            assert await _try(door, f"http://{host}:{port}/") == "answered"


async def test_rebinding_between_check_and_connection(
    zone: dict[bytes, list[str]], traps: list[Peer]
) -> None:
    """The name flips to the trap as soon as it was asked for once."""

    class Flipping(list[str]):
        asked = 0

        def __iter__(self) -> Any:
            self.asked += 1
            return iter(["127.0.0.2"] if self.asked == 1 else ["127.0.0.1"])

    answers = Flipping()
    zone[b"flip.example"] = answers
    port = traps[0].port
    async with serve(host="127.0.0.2", port=port) as allowed:
        async with HttpDoor(Egress.parse("127.0.0.2")) as door:
            answer = await door.request("GET", f"http://flip.example:{port}/", timeout=30)
            assert answer.status_code == 200
            assert (allowed.connections, answers.asked) == (1, 1)
            assert f"host: flip.example:{port}" in allowed.headers()
            # A kept connection was checked when it was opened and needs no second look.
            await door.request("GET", f"http://flip.example:{port}/", timeout=30)
            assert (allowed.connections, answers.asked) == (1, 1)
        async with HttpDoor(Egress.parse("127.0.0.2")) as door:
            with pytest.raises(HttpDoorError, match="loopback") as caught:
                await door.request("GET", f"http://flip.example:{port}/", timeout=30)
            assert caught.value.code == "egress_refused"
    assert [peer.connections for peer in traps] == [0] * len(traps)


@pytest.mark.parametrize("order", [1, -1])
async def test_one_bad_address_spoils_the_answer(
    zone: dict[bytes, list[str]], traps: list[Peer], order: int
) -> None:
    zone[b"two.example"] = ["127.0.0.2", "127.0.0.1"][::order]
    port = traps[0].port
    async with (
        serve(host="127.0.0.2", port=port) as allowed,
        HttpDoor(Egress.parse("127.0.0.2")) as door,
    ):
        assert await _try(door, f"http://two.example:{port}/") == "egress_refused"
        assert allowed.connections == traps[0].connections == 0


async def test_the_next_address_is_tried_when_the_first_does_not_answer(
    zone: dict[bytes, list[str]], traps: list[Peer]
) -> None:
    zone[b"two.example"] = ["127.0.0.3", "127.0.0.1"]
    async with HttpDoor(Egress.parse("127.0.0.0/8")) as door:
        assert await _try(door, f"http://two.example:{traps[0].port}/") == "answered"


async def test_a_named_host_may_resolve_inside(
    zone: dict[bytes, list[str]], traps: list[Peer]
) -> None:
    zone[b"crm.corp.example"] = zone[b"crm.evil.example"] = ["127.0.0.1"]
    port = traps[0].port
    async with HttpDoor(Egress.parse(f"*.corp.example:{port}")) as door:
        assert await _try(door, f"http://crm.corp.example:{port}/") == "answered"
        assert await _try(door, f"http://crm.evil.example:{port}/") == "egress_refused"
        assert await _try(door, f"http://127.0.0.1:{port}/") == "egress_refused"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_answers(traps: list[Peer], status: int) -> None:
    target = f"http://127.0.0.1:{traps[0].port}/inside"
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    async with (
        serve(says(head.encode())) as outside,
        HttpDoor(Egress.parse(f"127.0.0.1:{outside.port}")) as door,
    ):
        answer = await door.request("GET", outside.url, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (status, target)
    assert traps[0].connections == 0


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_proxies_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, traps: list[Peer], name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{traps[0].port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with serve() as outside, HttpDoor(Egress.parse("127.0.0.0/8")) as door:
        await door.request("GET", outside.url, timeout=30)
        assert (outside.connections, traps[0].connections) == (1, 0)


async def test_unix_sockets_are_refused() -> None:
    guard = GuardedBackend(Egress.parse("0.0.0.0/0, ::/0"))
    with pytest.raises(Refused):
        await guard.connect_unix_socket("/var/run/docker.sock")
    guard.close()


async def test_the_door_does_not_open_without_its_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    real = httpcore2.AsyncConnectionPool

    def without(**arguments: Any) -> httpcore2.AsyncConnectionPool:
        del arguments["network_backend"]
        return real(**arguments)

    monkeypatch.setattr(httpcore2, "AsyncConnectionPool", without)
    with pytest.raises(RuntimeError, match="guard"):
        HttpDoor(Egress())


async def test_a_slow_name_server_ends_at_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    released = threading.Event()

    def slow(*_: Any) -> list[Any]:
        loop.call_soon_threadsafe(asked.set)
        released.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with HttpDoor(Egress()) as door:
        try:
            with pytest.raises(HttpDoorError) as caught:
                await door.request("GET", "http://slow.example/", timeout=0.5)
            assert asked.is_set()
        finally:
            released.set()
    assert (caught.value.code, caught.value.retryable) == ("timeout", True)
