"""What comes in: keys, roles, bodies that are too large, too slow or no JSON, unknown paths."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route

from app.main import public_routes
from app.services import auth
from app.services import door as limits
from app.settings import Settings
from engine.roles import Role
from store import keys
from tests.contract.conftest import ADMIN, Door, serving
from tests.contract.full_engine.definitions import QUIET

_PARAMETER = re.compile(r"{\w+}")


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route that needs a key."""
    public = public_routes(app)
    return [
        (method, _PARAMETER.sub("x", route.path))
        for route in app.router.routes
        if isinstance(route, Route) and route not in public
        for method in route.methods or ()
    ]


async def test_every_route_needs_a_key_but_three(app: FastAPI, door: Door) -> None:
    public = [route.path for route in public_routes(app)]
    assert sorted(public) == ["/healthz", "/openapi.json", "/readyz"]
    tried = 0
    async with door.client(None) as nobody:
        for method, path in routes(app):
            for authorization in (None, "Bearer ", "Bearer nope", f"Basic {ADMIN}", ADMIN):
                headers = {"authorization": authorization} if authorization else {}
                answer = await nobody.request(method, path, headers=headers)
                _is_denied(answer, path, authorization)
                tried += 1
        twice = [("authorization", f"Bearer {ADMIN}")] * 2
        assert (await nobody.get("/api/workflows", headers=twice)).status_code == 401
    assert tried >= 50


def _is_denied(answer: httpx2.Response, path: str, authorization: str | None) -> None:
    """As the surface of the path publishes it."""
    if path.startswith("/v1/"):
        said = "Invalid or expired API key." if authorization else "Not authenticated"
        assert answer.json() == {"detail": said}, path
    else:
        told = answer.json()["error"]
        named = told["code"] if path.startswith("/api/v1/") else told
        assert named == "unauthorized", path
    if path.startswith("/v1/") and not authorization:
        assert answer.status_code == 403, path
    else:
        assert answer.status_code == 401, (path, authorization)
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_forgotten(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth.REMEMBERED <= 1
    monkeypatch.setattr(auth, "REMEMBERED", 0.3)
    token = await door.key(Role.VIEWER)
    async with door.client(token) as client:
        assert (await client.get("/api/workflows")).status_code == 200
        row = await door.database.read(lambda tx: keys.find(tx, token, b"pepper for tests only"))
        assert row is not None
        assert row.last_used_at is not None
        await door.database.write(lambda tx: keys.revoke(tx, row.org_id, row.id))
        async with asyncio.timeout(30):
            while (await client.get("/api/workflows")).status_code == 200:
                await asyncio.sleep(0.2)
        assert (await client.get("/api/workflows")).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/api/workflows/", "/api/workflows/a/b/c", "/api/workflows/runs/x/nope", "/", "/docs", "/v2"],
)
async def test_an_unknown_path_has_the_envelope(api: httpx2.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "not_found",
        "message": "There is nothing at this path.",
        "status": 404,
    }


async def test_another_method_is_a_405_that_lists_all(api: httpx2.AsyncClient) -> None:
    answer = await api.delete("/api/workflows")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert answer.json()["error"] == "method_not_allowed"
    answer = await api.patch("/api/workflows/validate")
    assert answer.headers["allow"] == "POST"


DEEP = limits.DEEPEST


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[NaN]",
        b"[-Infinity]",
        b"[1e999]",
        b'{"a":1,"a":2}',
        b"[9223372036854775808]",
        b"[" + b"9" * 5_000 + b"]",
        b'["\\ud800"]',
        b"[" * (DEEP + 1) + b"]" * (DEEP + 1),
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[" + b"0," * limits.MOST_NODES + b"0]",
        json.dumps("x" * (limits.LONGEST_STRING + 1)).encode(),
        json.dumps({"x" * (limits.LONGEST_STRING + 1): 1}).encode(),
    ],
    ids=range(15),
)
async def test_what_is_no_strict_json_is_a_400(api: httpx2.AsyncClient, body: bytes) -> None:
    answer = await api.post(
        "/api/workflows/validate", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] == "bad_request"
    assert len(answer.content) < 300


@pytest.mark.parametrize(
    "value",
    [
        9223372036854775807,
        -9223372036854775808,
        1.5e300,
        "x" * limits.LONGEST_STRING,
        "\0 é 😀",
        [0] * (limits.MOST_NODES - 100),
    ],
    ids=range(6),
)
async def test_what_is_within_the_limits_goes_through(
    api: httpx2.AsyncClient, value: object
) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    answer = await api.post(
        f"/api/workflows/{created.json()['id']}/run", json={"input_data": {"v": value}}
    )
    assert answer.status_code == 202, answer.text


def test_nesting_is_counted_exactly() -> None:
    assert limits.parse(b"[" * DEEP + b"1" + b"]" * DEEP) is not None
    with pytest.raises(limits.Refused):
        limits.parse(b"[" * (DEEP + 1) + b"]" * (DEEP + 1))


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None]
)
async def test_another_content_type_is_a_415(api: httpx2.AsyncClient, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await api.post("/api/workflows/validate", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"] == "unsupported_media_type"


@pytest.mark.parametrize("path", ["/api/workflows/validate", "/api/v1/entities", "/v1/events"])
async def test_another_charset_is_a_415(api: httpx2.AsyncClient, path: str) -> None:
    for charset, refused in (("latin-1", True), ("utf-16", True), ("UTF-8", False)):
        headers = {"content-type": f'application/json; charset="{charset}"'}
        answer = await api.post(path, content=b"{}", headers=headers)
        assert (answer.status_code == 415) is refused, charset


async def test_head_is_get_without_its_body(app: FastAPI, live: httpx2.AsyncClient) -> None:
    answer = await live.post("/api/workflows", json={"definition": QUIET})
    workflow = answer.json()["id"]
    run = (await live.post(f"/api/workflows/{workflow}/run", json={})).json()["run_id"]
    named = {
        "workflow_id": workflow,
        "workflowId": workflow.removeprefix("wf_"),
        "run_id": run,
        "jobId": run.removeprefix("run_"),
        "entityTypeId": "Vendor",
    }
    taken = 0
    for route in app.routes:
        if not isinstance(route, Route) or "GET" not in (route.methods or ()):
            continue
        path = route.path
        for name, value in named.items():
            path = path.replace(f"{{{name}}}", value)
        if path.endswith("/stream"):
            # It does not end before the run does.
            head = await live.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"].startswith("text/event-stream")
            continue
        got, head = await live.get(path), await live.head(path)
        if path.startswith("/v1/"):
            assert head.status_code == 405
            continue
        assert (head.status_code, head.content) == (got.status_code, b""), path
        varying = {"date", "x-correlation-id", "content-length", "transfer-encoding"}
        for each in (got.headers, head.headers):
            for header in varying & {*each}:
                del each[header]
        assert dict(head.headers) == dict(got.headers), path
        taken += got.status_code == 200
    assert taken > 15


@pytest.mark.parametrize("path", ["/api/workflows", "/healthz", "/nope"])
async def test_answers_are_not_guessed_at_and_not_kept(api: httpx2.AsyncClient, path: str) -> None:
    headers = (await api.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_a_compressed_body_is_a_415(api: httpx2.AsyncClient) -> None:
    answer = await api.post(
        "/api/workflows/validate",
        content=b"\x1f\x8b",
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    )
    assert answer.status_code == 415


async def test_a_declared_body_that_is_too_large_is_refused_unread(
    live: httpx2.AsyncClient,
) -> None:
    url = live.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /api/workflows/validate HTTP/1.1\r\nhost: x\r\ncontent-length: 300000000\r\n\r\n"
    )
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"payload_too_large" in answer
    writer.close()


async def test_a_chunked_body_without_end_is_a_413(live: httpx2.AsyncClient) -> None:
    url = live.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /api/workflows/validate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
        + ADMIN.encode()
        + b"\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    # One byte too many and then nothing: what is sent after the answer may reset the connection.
    writer.write((b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 16 + b"1\r\n \r\n")
    async with asyncio.timeout(30):
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_slow_body_is_a_408(app: FastAPI) -> None:
    slow = limits.Door(
        app,
        answer=lambda _, __: Response("refused by its headers"),
        bounds=limits.Bounds(deadline=0.3),
    )
    async with serving(slow) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /api/workflows/validate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
            + ADMIN.encode()
            + b"\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"
        )
        async with asyncio.timeout(30):
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request_timeout" in answer
        writer.close()


async def test_length_and_chunks_together_are_a_400(live: httpx2.AsyncClient) -> None:
    url = live.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        b"POST /api/workflows/validate HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
        b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n"
    )
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_an_unexpected_error_shows_a_number_and_nothing_else(
    settings: Settings, api: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("ALTER TABLE workflows RENAME TO lost")
    answer = await api.get("/api/workflows")
    assert answer.status_code == 500
    body = answer.json()
    assert (body["error"], body["status"]) == ("internal_error", 500)
    assert "Traceback" not in answer.text
    number = body["message"].rsplit(" ", 1)[-1].rstrip(".")
    assert len(number) == 32
    assert any(number in record.getMessage() for record in caplog.records)
