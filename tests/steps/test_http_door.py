"""What the outgoing door sends, and to whom: requests, connections, time, TLS, logs."""

import asyncio
import datetime
import logging
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from activities.clients.egress import Egress
from activities.clients.http import HttpDoor
from tests.steps.http_door_peer import LOOPBACK, failure, message, says, serve

SECRET = "s3cr3t-v4lue"


@pytest.fixture
async def door() -> AsyncIterator[HttpDoor]:
    async with HttpDoor(LOOPBACK) as door:
        yield door


async def test_a_request_arrives_as_it_was_meant(door: HttpDoor) -> None:
    async with serve() as peer:
        answer = await door.request(
            "POST",
            f"{peer.url}/päth?a=1&b=%20#part",
            headers={"X-Key": " v ", "Content-Type": "application/json"},
            params={"q": "a b&c", "on": True, "n": 1.5, "many": ["x", 2, False]},
            content=b'{"x": 1}',
            timeout=30,
        )
    line, _, body = peer.requests[0].partition(b"\r\n")
    query = b"a=1&b=%20&q=a%20b%26c&on=true&n=1.5&many=x&many=2&many=false"
    assert line == b"POST /p%C3%A4th?" + query + b" HTTP/1.1"
    assert body.endswith(b'\r\n\r\n{"x": 1}')
    assert sorted(peer.headers()) == [
        "accept-encoding: identity",
        "accept: */*",
        "content-length: 8",
        "content-type: application/json",
        f"host: 127.0.0.1:{peer.port}",
        "user-agent: signalbox",
        "x-key: v",
    ]
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert answer.headers == {"content-type": "application/json", "content-length": "2"}
    assert answer.url == f"{peer.url}/p%C3%A4th?{query.decode()}"


@pytest.mark.parametrize(
    ("method", "content", "length"),
    [
        ("GET", None, None),
        ("DELETE", None, None),
        ("OPTIONS", None, None),
        ("POST", None, "0"),
        ("PUT", b"", "0"),
        ("PATCH", b"xyz", "3"),
        ("DELETE", b"x", "1"),
    ],
)
async def test_the_length_of_the_body_is_ours_to_say(
    door: HttpDoor, method: str, content: bytes | None, length: str | None
) -> None:
    async with serve() as peer:
        await door.request(method, peer.url, content=content, timeout=30)
    lengths = [x.partition(": ")[2] for x in peer.headers() if x.startswith("content-length")]
    assert lengths == ([] if length is None else [length])


async def test_connections_are_kept_and_shared(door: HttpDoor) -> None:
    async with serve() as peer:
        for _ in range(5):
            await door.request("GET", peer.url, timeout=30)
        assert peer.connections == 1
        await asyncio.gather(*(door.request("GET", peer.url, timeout=30) for _ in range(20)))
        assert peer.connections <= 20
    assert len(peer.requests) == 25


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Host": SECRET}, "Host"),
        ({"content-length": SECRET}, "content-length"),
        ({"Transfer-Encoding": SECRET}, "Transfer-Encoding"),
        ({"Connection": SECRET}, "Connection"),
        ({"Keep-Alive": SECRET}, "Keep-Alive"),
        ({"TE": SECRET}, "TE"),
        ({"Upgrade": SECRET}, "Upgrade"),
        ({"Proxy-Authorization": SECRET}, "Proxy-Authorization"),
        ({"proxy-connection": SECRET}, "proxy-connection"),
        ({"Expect": SECRET}, "Expect"),
        ({"Trailer": SECRET}, "Trailer"),
        ({"X-A": f"{SECRET}\r\nHost: inside"}, "X-A"),
        ({"X-A": f"{SECRET}\n"}, "X-A"),
        ({"X-A": f"\r{SECRET}"}, "X-A"),
        ({"X-A": f"{SECRET}\0"}, "X-A"),
        ({"X-A": f"{SECRET}\x7f"}, "X-A"),
        ({"X-A": f"{SECRET}€"}, "X-A"),
        ({"X-A": "1", "x-a": SECRET}, "x-a"),
        ({"X-A\r\nHost": SECRET}, "name"),
        ({"X A": SECRET}, "name"),
        ({"X-A:": SECRET}, "name"),
        ({"Host ": SECRET}, "name"),
        ({"X-Ä": SECRET}, "name"),
        ({"": SECRET}, "name"),
        ({"X-A": SECRET + "x" * 70_000}, "limit"),
    ],
)
async def test_a_header_that_would_forge_the_request_is_not_sent(
    door: HttpDoor, headers: dict[str, str], named: str
) -> None:
    async with serve() as peer:
        error = await failure(door, peer.url, headers=headers)
        assert peer.connections == 0
    assert (error.code, error.retryable) == ("bad_request", False)
    assert named in str(error)
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    "method", ["CONNECT", "TRACE", "get", "G E T", "GET /\r\nHost: x\r\n\r\nGET", "", "PÖST"]
)
async def test_other_methods_are_not_sent(door: HttpDoor, method: str) -> None:
    async with serve() as peer:
        assert (await failure(door, peer.url, method=method)).code == "bad_request"
        assert peer.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "example.com",
        "file:///etc/passwd",
        f"ftp://{SECRET}.example/",
        f"http://{SECRET}:x@127.0.0.1/",
        f"http://127.0.0.1:{SECRET}/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:-80/",
        "http://",
        "http://:80/",
        "http://a..b/",
        "http://.a/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 127}example/",
        "http://ex%61mple.com/",
        "http://[::1/",
        "http://[1::2::3]/",
        "http://[v1.x]/",
        "http://999.1.1.1/",
        "http://xn--a/\ud800",
        f"http://127.0.0.1/{SECRET}\r\nHost: x",
        f"http://127.0.0.1/{SECRET} HTTP/1.1",
        f"http://127.0.0.1/{SECRET}\\",
        f"http://127.0.0.1/?{SECRET}=" + "x" * 8192,
    ],
)
async def test_a_url_that_cannot_be_requested_is_not_repeated_in_full(
    door: HttpDoor, url: str
) -> None:
    error = await failure(door, url)
    assert error.code == "bad_request"
    assert SECRET not in str(error)


async def test_parameters_count_for_the_length_and_must_be_text(door: HttpDoor) -> None:
    url = "http://127.0.0.1/"
    assert (await failure(door, url, params={"a": "x" * 8192})).code == "bad_request"
    assert (await failure(door, url, params={"a": "\ud800"})).code == "bad_request"


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, with its key, that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


async def test_tls_checks_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    async with serve(tls=context) as peer:
        url = peer.url.replace("http:", "https:")
        async with HttpDoor(LOOPBACK) as door:
            error = await failure(door, url)
            assert error.code == "connect_failed"
            assert "certificate verify failed" in str(error)
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        async with HttpDoor(Egress.parse("127.0.0.0/8, localhost")) as door:
            answer = await door.request("GET", url, timeout=30)
            assert answer.status_code == 200
            # The name of the URL is what the certificate must bear, not the address dialled.
            error = await failure(door, url.replace("127.0.0.1", "localhost"))
            assert "certificate verify failed" in str(error)
    assert len(peer.requests) == 1


async def test_logs_show_neither_headers_nor_queries(
    door: HttpDoor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serve(says(message(b"", b"Set-Cookie: " + SECRET.encode()))) as peer:
            await door.request(
                "GET",
                f"{peer.url}/?key={SECRET}",
                headers={"Authorization": SECRET},
                timeout=30,
            )
    assert SECRET not in caplog.text
