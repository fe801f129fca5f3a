"""`/api/keys`: made with a secret that is shown once, listed, rotated, revoked at once."""

import asyncio
import logging
import sqlite3
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.services import auth
from app.settings import Settings
from engine.roles import Role
from store import keys
from tests.contract.conftest import ADMIN, Door, running

ADMIN_ID = keys.key_id(ADMIN)
UNKNOWN = {"error": "not_found", "message": "There is no such key.", "status": 404}


async def create(api: httpx2.AsyncClient, role: str = "runner", **more: Any) -> dict[str, Any]:
    answer = await api.post("/api/keys", json={"name": "billing", "role": role, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/keys/{made['id']}"
    return made


async def test_a_key_is_made_used_and_seen(door: Door, api: httpx2.AsyncClient) -> None:
    made = await create(api)
    assert set(made) == {"id", "key", "secret"}
    key = made["key"]
    assert key == {
        "id": made["id"],
        "name": "billing",
        "role": "runner",
        "created_at": key["created_at"],
        "created_by": ADMIN_ID,
        "last_used_at": None,
        "expires_at": None,
        "expired": False,
        "revoked_at": None,
        "revoked_reason": None,
    }
    async with door.client(made["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 200
    used = (await api.get(f"/api/keys/{made['id']}")).json()["key"]
    assert used["last_used_at"] >= key["created_at"]
    listed = (await api.get("/api/keys")).json()
    assert listed["total"] == 2
    assert listed["keys"][0] == used
    assert listed["keys"][1]["id"] == ADMIN_ID
    assert (await api.get("/api/keys", params={"limit": 1, "offset": 1})).json() == {
        "keys": listed["keys"][1:],
        "total": 2,
    }


async def test_a_key_ends_by_itself(door: Door, api: httpx2.AsyncClient) -> None:
    made = await create(api, seconds_until_expiration=3600)
    assert made["key"]["expires_at"] > made["key"]["created_at"]
    async with door.client(made["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 200
    short = await create(api, seconds_until_expiration=1)
    async with asyncio.timeout(30):
        while not (seen := (await api.get(f"/api/keys/{short['id']}")).json()["key"])["expired"]:
            await asyncio.sleep(0.1)
    assert seen["revoked_at"] is None
    async with door.client(short["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 401
    answer = await api.post(f"/api/keys/{short['id']}/rotate")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"name": None},
        {"role": "owner"},
        {"seconds_until_expiration": 0},
        {"seconds_until_expiration": "60"},
        {"seconds_until_expiration": 2**62},
        {"more": 1},
    ],
)
async def test_what_cannot_be_is_refused(api: httpx2.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await api.post("/api/keys", json={"name": "a", "role": "viewer"} | wrong)
    assert (answer.status_code, answer.json()["error"]) == (422, "validation_error"), answer.text
    assert answer.json()["problems"][0]["path"] == f"body.{next(iter(wrong))}"
    assert (await api.get("/api/keys")).json()["total"] == 1


async def test_a_rotated_key_has_a_successor(door: Door, api: httpx2.AsyncClient) -> None:
    old = await create(api, role="editor", seconds_until_expiration=3600)
    answer = await api.post(f"/api/keys/{old['id']}/rotate")
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert answer.headers["location"] == f"/api/keys/{new['id']}"
    assert new["key"]["name"].startswith("billing (rotated 2")
    assert (new["key"]["role"], new["key"]["expires_at"]) == ("editor", old["key"]["expires_at"])
    async with door.client(new["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 200
    async with door.client(old["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 401
    gone = (await api.get(f"/api/keys/{old['id']}")).json()["key"]
    assert gone["revoked_reason"] == f"rotated to {new['id']}"
    assert (await api.post(f"/api/keys/{old['id']}/rotate")).status_code == 409
    assert (await api.get("/api/keys")).json()["total"] == 3


async def test_a_key_may_rotate_itself(door: Door, api: httpx2.AsyncClient) -> None:
    new = (await api.post(f"/api/keys/{ADMIN_ID}/rotate")).json()
    assert (await api.get("/api/keys")).status_code == 401
    async with door.client(new["secret"]) as client:
        assert (await client.get("/api/keys")).json()["total"] == 2


@pytest.mark.parametrize("body", [None, {}, {"reason": None}, {"reason": "it leaked"}])
async def test_a_revoked_key_is_refused_at_once(
    door: Door, api: httpx2.AsyncClient, body: dict[str, Any] | None
) -> None:
    made = await create(api)
    async with door.client(made["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 200
        answer = await api.post(f"/api/keys/{made['id']}/revoke", json=body)
        assert answer.status_code == 200, answer.text
        assert (await client.get("/api/workflows")).status_code == 401
    key = answer.json()["key"]
    assert key["revoked_at"] is not None
    assert key["revoked_reason"] == (body or {}).get("reason")
    again = await api.post(f"/api/keys/{made['id']}/revoke", json={"reason": "another"})
    assert (again.status_code, again.json()["key"]["revoked_at"]) == (200, key["revoked_at"])
    assert again.json()["key"]["revoked_reason"] == key["revoked_reason"]


async def test_a_revoked_key_is_refused_by_other_processes_within_a_second(
    settings: Settings, temporal: str, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth.REMEMBERED <= 1
    monkeypatch.setattr(auth, "REMEMBERED", 0.2)
    made = await create(api)
    async with running(settings, temporal) as other:
        door = Door(other, other.state.services.database)
        async with door.client(made["secret"]) as client:
            assert (await client.get("/api/workflows")).status_code == 200
            await api.post(f"/api/keys/{made['id']}/revoke")
            async with asyncio.timeout(30):
                while (await client.get("/api/workflows")).status_code == 200:
                    await asyncio.sleep(0.05)
            assert (await client.get("/api/workflows")).status_code == 401


async def test_the_last_admin_key_is_not_revoked(door: Door, api: httpx2.AsyncClient) -> None:
    await create(api, role="editor")
    await door.key(Role.ADMIN, "other")
    answer = await api.post(f"/api/keys/{ADMIN_ID}/revoke")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "last admin key" in answer.json()["message"]
    another = await create(api, role="admin")
    async with door.client(another["secret"]) as client:
        assert (await client.post(f"/api/keys/{ADMIN_ID}/revoke")).status_code == 200
        assert (await client.post(f"/api/keys/{another['id']}/revoke")).status_code == 409
        assert (await client.get("/api/keys")).status_code == 200


@pytest.mark.parametrize("key_id", ["0" * 16, "x", "0" * 400, "%00", "%F0%9F%98%80", "key_0"])
async def test_an_unknown_key_is_a_404(api: httpx2.AsyncClient, key_id: str) -> None:
    for answer in (
        await api.get(f"/api/keys/{key_id}"),
        await api.post(f"/api/keys/{key_id}/rotate"),
        await api.post(f"/api/keys/{key_id}/revoke"),
    ):
        assert (answer.status_code, answer.json()) == (404, UNKNOWN)


async def test_another_organisation_s_key_is_unknown(door: Door, api: httpx2.AsyncClient) -> None:
    made = await create(api)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for answer in (
            await other.get(f"/api/keys/{made['id']}"),
            await other.post(f"/api/keys/{made['id']}/rotate"),
            await other.post(f"/api/keys/{made['id']}/revoke"),
        ):
            assert (answer.status_code, answer.json()) == (404, UNKNOWN)
        assert (await other.get("/api/keys")).json()["total"] == 1
    async with door.client(made["secret"]) as client:
        assert (await client.get("/api/workflows")).status_code == 200


async def test_nothing_keeps_the_secret(
    api: httpx2.AsyncClient, app: FastAPI, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the idempotency records, not the audit log, not the database, not the log."""
    caplog.set_level(logging.DEBUG)
    path = settings.database_url.removeprefix("sqlite:///")
    once = {"Idempotency-Key": "one"}
    made = [
        await api.post("/api/keys", json={"name": "a", "role": "viewer"}, headers=once)
        for _ in range(2)
    ]
    first, second = (answer.json() for answer in made)
    assert first["secret"] != second["secret"]
    rotated = (await api.post(f"/api/keys/{first['id']}/rotate", headers=once)).json()
    await app.state.services.audit.flush()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM audit").fetchone() == (3,)
        kept = "\n".join(file.iterdump())
    shown = (await api.get("/api/keys")).text + (await api.get("/api/audit")).text
    for secret in (first["secret"], second["secret"], rotated["secret"]):
        assert secret not in kept + shown + caplog.text
