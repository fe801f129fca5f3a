"""`/api/audit`: who called what, and how it ended; and the number that every answer has."""

import asyncio
import logging
import sqlite3
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.services import audit
from app.services.audit import Audit, Audited
from app.settings import Settings
from engine.roles import Role
from store import keys
from store.audit import Call
from store.clock import DAY, now
from store.database import Database
from tests.contract.conftest import ADMIN, Door, running
from tests.contract.full_engine.definitions import QUIET

VALUE = "a value that is nowhere else"


async def calls(api: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/api/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["calls"]
    return found


async def test_a_call_is_in_the_log_without_its_values(api: httpx2.AsyncClient) -> None:
    made = await api.post("/api/workflows", json={"definition": QUIET})
    path = f"/api/workflows/{made.json()['id']}"
    started = await api.post(
        f"{path}/run?wait=0&b%20b={VALUE}&wait=0&flag", json={"input_data": {"x": VALUE}}
    )
    start, create = await calls(api)
    assert start == {
        "id": start["id"],
        "at": start["at"],
        "key_id": keys.key_id(ADMIN),
        "key_name": "bootstrap",
        "method": "POST",
        "route": "/api/workflows/{workflow_id}/run",
        "path": f"{path}/run",
        "query_parameters": ["wait", "b b", "flag"],
        "status": started.status_code,
        "duration_ms": start["duration_ms"],
        "client_ip": "127.0.0.1",
        "correlation_id": started.headers["x-correlation-id"],
    }
    assert start["duration_ms"] >= 0
    assert (create["status"], create["route"]) == (201, "/api/workflows")
    assert VALUE not in str(await calls(api))


async def test_refusals_and_failures_are_in_it(
    settings: Settings, door: Door, api: httpx2.AsyncClient
) -> None:
    token = await door.key(Role.VIEWER)
    async with door.client(token) as viewer:
        await viewer.post("/api/workflows", json={"definition": QUIET})
        await viewer.post("/api/workflows/validate", content=b"{")
        await viewer.get("/api/workflows/x%00%0A")
        with sqlite3.connect(settings.database_url.removeprefix("sqlite:///")) as file:
            file.execute("ALTER TABLE templates RENAME TO lost")
        failed = await viewer.get("/api/workflows/templates")
        number = failed.headers["x-correlation-id"]
        assert number in failed.json()["message"]
    found = await calls(api, key_id=keys.key_id(token))
    assert [call["status"] for call in found] == [500, 404, 415, 403]
    assert found[0]["correlation_id"] == number
    assert found[1]["path"] == "/api/workflows/x%00%0A"
    assert {call["key_name"] for call in found} == {"test"}


async def test_calls_without_a_known_key_are_not(door: Door, api: httpx2.AsyncClient) -> None:
    async with door.client(None) as nobody:
        for path in ("/api/workflows", "/healthz", "/openapi.json"):
            answer = await nobody.get(path)
            assert len(answer.headers["x-correlation-id"]) == 32
    async with door.client(keys.new_token()) as stranger:
        assert (await stranger.get("/api/audit")).status_code == 401
    assert (await api.get("/nothing")).status_code == 404
    assert await calls(api) == []
    (own,) = await calls(api)
    assert own["route"] == "/api/audit"


async def test_a_stream_is_in_it_when_it_has_ended(api: httpx2.AsyncClient) -> None:
    made = await api.post("/api/workflows", json={"definition": QUIET})
    run = await api.post(f"/api/workflows/{made.json()['id']}/run")
    path = f"/api/workflows/runs/{run.json()['run_id']}"
    await api.post(f"{path}/cancel")
    async with api.stream("GET", f"{path}/stream") as stream:
        await stream.aread()
    streamed, cancelled, *_ = await calls(api)
    assert (streamed["route"], streamed["status"]) == (
        "/api/workflows/runs/{run_id}/stream",
        200,
    )
    assert cancelled["path"] == f"{path}/cancel"


async def test_pages_do_not_shift(api: httpx2.AsyncClient) -> None:
    for n in range(5):
        await api.get(f"/api/workflows/wf_{n}")
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = (await api.get("/api/audit", params={"limit": 2, **before})).json()
        seen += [call["path"] for call in page["calls"] if call["route"] != "/api/audit"]
        if not page["has_more"]:
            break
        before = {"before": page["calls"][-1]["id"]}
    assert seen == [f"/api/workflows/wf_{n}" for n in (4, 3, 2, 1, 0)]
    assert await calls(api, before="0") == []


async def test_filters(door: Door, api: httpx2.AsyncClient) -> None:
    token = await door.key(Role.VIEWER)
    async with door.client(token) as viewer:
        await viewer.get("/api/workflows")
        await viewer.get("/api/keys")
        await viewer.get("/api/workflows/step-types")
    mine = keys.key_id(token)
    last, refused, first = await calls(api, key_id=mine)
    assert await calls(api, key_id=mine, status=403) == [refused]
    assert await calls(api, key_id=mine, status=200) == [last, first]
    assert await calls(api, key_id=mine, since=refused["at"]) == [last, refused]
    assert await calls(api, key_id=mine, until=refused["at"]) == [first]
    assert await calls(api, key_id="0" * 16) == []


@pytest.mark.parametrize(
    "query",
    [{"status": 99}, {"since": "soon"}, {"limit": 0}, {"before": "\0"}, {"key_id": "ü"}],
)
async def test_what_is_no_filter_is_a_422(api: httpx2.AsyncClient, query: dict[str, Any]) -> None:
    answer = await api.get("/api/audit", params=query)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == f"query.{next(iter(query))}"


async def test_each_organisation_sees_its_own(door: Door, api: httpx2.AsyncClient) -> None:
    await api.get("/api/workflows")
    (mine,) = await calls(api)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        assert await calls(other) == []
        assert await calls(other, before=mine["id"]) == []
        assert await calls(other, key_id=mine["key_id"]) == []


@pytest.mark.parametrize("sane", ["a", "3f/b:c.d_e~f+g=h@i-j", "x" * 128])
async def test_a_sane_number_is_taken_over(api: httpx2.AsyncClient, sane: str) -> None:
    answer = await api.get("/api/workflows", headers={"X-Correlation-Id": sane})
    assert answer.headers["x-correlation-id"] == sane
    assert (await calls(api))[0]["correlation_id"] == sane


@pytest.mark.parametrize("odd", ["", "a b", "x" * 129, "ü", "a\tb", '"', "<a>"])
async def test_another_one_is_not(api: httpx2.AsyncClient, odd: str) -> None:
    headers = [("X-Correlation-Id", odd.encode())]
    answer = await api.get("/api/workflows", headers=headers)
    assert len(answer.headers["x-correlation-id"]) == 32
    twice = [("X-Correlation-Id", "a"), ("X-Correlation-Id", "b")]
    answer = await api.get("/api/workflows", headers=twice)
    assert len(answer.headers["x-correlation-id"]) == 32


async def test_what_the_door_refuses_has_a_number(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/workflows/validate", headers={"content-length": "300000000"})
    assert answer.status_code == 413
    assert len(answer.headers["x-correlation-id"]) == 32


async def test_a_caller_who_goes_before_the_answer_has_no_status(
    app: FastAPI, api: httpx2.AsyncClient
) -> None:
    caller = await app.state.services.auth.caller([f"Bearer {ADMIN}"])

    async def stopped(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"caller": caller, "route": "/api/workflows"}
        raise asyncio.CancelledError

    async def nothing() -> Message:
        raise AssertionError

    async def nobody(message: Message) -> None:
        raise AssertionError

    scope = {"type": "http", "app": app, "method": "GET", "path": "/ü", "headers": []}
    with pytest.raises(asyncio.CancelledError):
        await Audited(stopped)(scope, nothing, nobody)
    (call,) = await calls(api)
    assert (call["status"], call["path"], call["client_ip"]) == (None, "/%C3%BC", None)


async def test_a_stopped_process_has_written_all(settings: Settings, temporal: str) -> None:
    async with running(settings, temporal) as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            await api.get("/api/workflows")
    with sqlite3.connect(settings.database_url.removeprefix("sqlite:///")) as file:
        assert file.execute("SELECT route, status FROM audit").fetchall() == [
            ("/api/workflows", 200)
        ]


def waiting(app: FastAPI, org: str, days: int = 90) -> tuple[Audit, Call]:
    """A log of its own on the app's database, and a call for it."""
    call = Call("0" * 32, org, now(), "k", "k", "GET", "/", "/", (), 200, 1, None, "c")
    return Audit(app.state.services.database, days), call


async def test_what_is_too_much_is_counted_and_said(
    app: FastAPI, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(audit, "ROOM", 2)
    org = (await app.state.services.auth.caller([f"Bearer {ADMIN}"])).org_id
    log, call = waiting(app, org)
    for n in range(5):
        log.note(Call(**{**vars(call), "id": f"{n:032x}"}))
    await log.stop()
    assert [one["id"] for one in await calls(api)] == [f"{n:032x}" for n in (1, 0)]
    assert "3 calls are missing in the audit log" in caplog.text


async def test_a_database_that_is_away_loses_nothing(
    app: FastAPI,
    api: httpx2.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(audit, "PERIOD", 0.05)
    here, away = app.state.services.database, Database("sqlite:////nowhere/at/all/x.db")
    org = (await app.state.services.auth.caller([f"Bearer {ADMIN}"])).org_id
    log, call = waiting(app, org)
    log._database = away
    log.note(call)
    task = asyncio.create_task(log.run())
    async with asyncio.timeout(60):
        while "the audit log waits" not in caplog.text:
            await asyncio.sleep(0.05)
        log._database = here
        while "the audit log goes on" not in caplog.text:
            await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await away.close()
    assert [one["id"] for one in await calls(api)] == [call.id]
    assert caplog.text.count("the audit log waits") == 1


async def test_old_calls_are_forgotten(app: FastAPI, api: httpx2.AsyncClient) -> None:
    org = (await app.state.services.auth.caller([f"Bearer {ADMIN}"])).org_id
    log, call = waiting(app, org, days=30)
    for n, age in enumerate((0, 29, 31)):
        log.note(Call(**{**vars(call), "id": f"{n:032x}", "at": now() - age * DAY}))
    await log.flush()
    await log.purge()
    assert [one["id"] for one in await calls(api)] == [f"{n:032x}" for n in (0, 1)]
