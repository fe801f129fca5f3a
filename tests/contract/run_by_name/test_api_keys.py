"""`/v1/api-keys`, and the two routes to try a key with."""

from typing import Any

import httpx2
import pytest

from engine.roles import Role
from store import keys
from tests.contract.conftest import ADMIN, Door

ADMIN_ID = keys.key_id(ADMIN)
UNKNOWN = {"detail": {"code": "api_key_not_found", "message": "There is no such key."}}


async def create(api: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await api.post("/v1/api-keys", json={"name": "ticketing", **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_key_is_made_and_listed(door: Door, api: httpx2.AsyncClient) -> None:
    made = await create(api, seconds_until_expiration=3600, unknown="is ignored", scopes=[])
    secret = made.pop("secret")
    assert made == {
        "id": made["id"],
        "name": "ticketing",
        "created_at": made["created_at"],
        "last_used_at": None,
        "revoked": False,
        "expired": False,
        "scopes": [],
        "created_by_clerk_user_id": None,
    }
    assert isinstance(made["created_at"], int)
    async with door.client(secret) as client:
        assert (await client.get("/v1/utils/authtest")).json() == {"msg": "Auth successful"}
        assert (await client.get("/v1/api-keys")).json() == {"detail": "Unauthorized role."}
    listed = (await api.get("/v1/api-keys")).json()
    assert set(listed) == {"data"}
    first, bootstrap = listed["data"]
    assert isinstance(first["last_used_at"], int)
    assert first | {"last_used_at": None} == made
    assert bootstrap["id"] == ADMIN_ID
    assert bootstrap["scopes"] == ["keys:manage", "audit:read"]
    elsewhere = (await api.get(f"/api/keys/{made['id']}")).json()["key"]
    assert (elsewhere["role"], elsewhere["expires_at"] is None) == ("operator", False)


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb"])
async def test_a_name_that_cannot_be_is_a_400(api: httpx2.AsyncClient, name: str) -> None:
    answer = await api.post("/v1/api-keys", json={"name": name})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (400, "invalid_name")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a", "seconds_until_expiration": 0}, "seconds_until_expiration"),
        ({"name": "a", "scopes": "all"}, "scopes"),
    ],
)
async def test_a_body_of_another_shape_is_a_422(
    api: httpx2.AsyncClient, body: dict[str, Any], where: str
) -> None:
    answer = await api.post("/v1/api-keys", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", where]


async def test_scopes_are_not_granted_to_a_key(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/v1/api-keys", json={"name": "a", "scopes": ["audit:read"]})
    assert answer.status_code == 403
    assert answer.json()["detail"]["code"] == "scope_grant_forbidden"
    assert len((await api.get("/v1/api-keys")).json()["data"]) == 1


async def test_a_key_is_rotated_and_revoked(door: Door, api: httpx2.AsyncClient) -> None:
    old = await create(api)
    answer = await api.post(f"/v1/api-keys/{old['id']}/rotate")
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert new["name"].startswith("ticketing (rotated 2")
    assert set(new) == set(old)
    assert new["secret"] != old["secret"]
    async with door.client(old["secret"]) as client:
        refused = await client.get("/v1/utils/authtest")
        assert (refused.status_code, refused.json()) == (
            401,
            {"detail": "Invalid or expired API key."},
        )
    again = await api.post(f"/v1/api-keys/{old['id']}/rotate")
    assert (again.status_code, again.json()["detail"]["code"]) == (409, "api_key_not_active")
    for body in ({"reason": "no longer needed"}, None):
        answer = await api.post(f"/v1/api-keys/{new['id']}/revoke", json=body)
        assert (answer.status_code, answer.json()["revoked"]) == (200, True)
    async with door.client(new["secret"]) as client:
        assert (await client.get("/v1/utils/authtest")).status_code == 401
    seen = (await api.get(f"/api/keys/{new['id']}")).json()["key"]
    assert seen["revoked_reason"] == "no longer needed"


async def test_scopes_are_inherited_and_the_last_admin_stays(
    door: Door, api: httpx2.AsyncClient
) -> None:
    answer = await api.post(f"/v1/api-keys/{ADMIN_ID}/revoke")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (409, "last_admin_key")
    new = (await api.post(f"/v1/api-keys/{ADMIN_ID}/rotate")).json()
    assert new["scopes"] == ["keys:manage", "audit:read"]
    async with door.client(new["secret"]) as client:
        assert (await client.get("/v1/api-keys")).status_code == 200


async def test_unknown_and_foreign_keys_are_the_same(door: Door, api: httpx2.AsyncClient) -> None:
    made = await create(api)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for key_id in (made["id"], "0" * 16, "%00", "cbwr_x"):
            for verb in ("rotate", "revoke"):
                answer = await other.post(f"/v1/api-keys/{key_id}/{verb}")
                assert (answer.status_code, answer.json()) == (404, UNKNOWN)


async def test_where_a_request_came_from(door: Door, api: httpx2.AsyncClient) -> None:
    assert (await api.get("/v1/whoami/ip")).json() == {"client_ip": "127.0.0.1"}
    (call,) = (await api.get("/api/audit")).json()["calls"]
    assert (call["route"], call["client_ip"]) == ("/v1/whoami/ip", "127.0.0.1")
