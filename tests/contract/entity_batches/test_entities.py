"""/api/v1/entities over the wire, one record at a time."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from engine.roles import Role
from store import clock, entities
from tests.contract.conftest import Door

ENTITIES = "/api/v1/entities"
ACME: dict[str, Any] = {"name": "Acme", "tags": ["processes_pii"], "tier": None}


async def created(api: httpx2.AsyncClient, fields: dict[str, Any], kind: str = "Vendor") -> str:
    answer = await api.post(ENTITIES, json={"entityTypeId": kind, "fields": fields})
    assert answer.status_code == 201, answer.text
    entity_id: str = answer.json()["id"]
    return entity_id


async def test_a_record_lives(api: httpx2.AsyncClient) -> None:
    vendor = (await api.get("/api/v1/entity-types/Vendor")).json()["id"]
    made = await api.post(ENTITIES, json={"entityTypeId": "Vendor", "fields": ACME})
    assert made.status_code == 201
    row = made.json()
    assert row == {
        "id": row["id"],
        "entityTypeId": vendor,
        "fields": {"name": "Acme", "tags": ["processes_pii"]},
        "createdAt": row["createdAt"],
        "updatedAt": row["createdAt"],
        "archivedAt": None,
        "publishedAt": None,
    }
    assert abs(row["createdAt"] - clock.now() // 1_000) < 60_000
    url = f"{ENTITIES}/{row['id']}"
    for spelling in (row["id"], f"cbvndr_{row['id']}"):
        assert (await api.get(f"{ENTITIES}/{spelling}")).json() == row
    for spelling in (f"cbsvc_{row['id']}", f"cbvndr_cbvndr_{row['id']}", "cbvndr_x"):
        for method in ("GET", "PATCH", "DELETE"):
            body = {"fields": {}} if method == "PATCH" else None
            refused = await api.request(method, f"{ENTITIES}/{spelling}", json=body)
            assert refused.status_code == 404
        assert (await api.post(f"{ENTITIES}/{spelling}/restore")).status_code == 404

    changed = (await api.patch(url, json={"fields": {"tier": "gold", "tags": None}})).json()
    assert changed["fields"] == {"name": "Acme", "tier": "gold"}
    assert changed["updatedAt"] >= row["updatedAt"]
    assert (await api.patch(url, json={"fields": {"tier": "gold"}})).json() == changed

    gone = await api.delete(url)
    assert gone.status_code == 200
    assert gone.json()["archivedAt"] is not None
    assert (await api.delete(url)).json() == gone.json()
    assert (await api.get(url)).json() == gone.json()
    assert (await api.patch(url, json={"fields": {"tier": "x"}})).status_code == 409
    listed = (await api.get(ENTITIES, params={"entityTypeId": vendor})).json()
    assert listed == {"data": [], "total": 0, "hasMore": False}
    listed = (await api.get(ENTITIES, params={"entityTypeId": vendor, "archived": True})).json()
    assert [one["id"] for one in listed["data"]] == [row["id"]]

    back = (await api.post(f"{url}/restore")).json()
    assert back["archivedAt"] is None
    assert (await api.post(f"{url}/restore")).json() == back
    assert (await api.get(ENTITIES, params={"entityTypeId": "Vendor"})).json()["total"] == 1


async def test_pages_are_stable_and_newest_first(api: httpx2.AsyncClient) -> None:
    made = [await created(api, {"n": n}) for n in range(5)]
    await created(api, {}, "Service")
    seen: list[str] = []
    for offset in (0, 2, 4):
        page = (
            await api.get(ENTITIES, params={"entityTypeId": "Vendor", "limit": 2, "offset": offset})
        ).json()
        assert (page["total"], page["hasMore"]) == (5, offset < 4)
        seen += [row["id"] for row in page["data"]]
    assert seen == made[::-1]


async def walked(api: httpx2.AsyncClient, **params: Any) -> AsyncIterator[list[str]]:
    """The pages of all vendors, each by the last entity of the one before."""
    wanted = {"entityTypeId": "Vendor", "limit": 2, **params}
    more = True
    while more:
        page = (await api.get(ENTITIES, params=wanted)).json()
        yield [row["id"] for row in page["data"]]
        wanted["after"] = page["data"][-1]["id"]
        more = page["hasMore"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_by_their_last_entity_stay_while_others_write(
    api: httpx2.AsyncClient, order: str
) -> None:
    made = [await created(api, {"n": n}) for n in range(6)]
    expected = made if order == "asc" else made[::-1]
    seen: list[str] = []
    async for page in walked(api, order=order):
        seen += page
        if len(seen) == 2:
            # The one that the next page begins behind, and one that is newer than all.
            await api.delete(f"{ENTITIES}/{seen[1]}")
            late = await created(api, {"n": "late"})
    assert seen == ([*expected, late] if order == "asc" else expected)
    again = walked(api, order=order, after=f"cbvndr_{seen[0]}")
    assert [one async for page in again for one in page] == seen[2:]


async def test_a_full_last_page_has_nothing_behind_it(api: httpx2.AsyncClient) -> None:
    made = [await created(api, {"n": n}) for n in range(4)]
    pages = [page async for page in walked(api)]
    assert [*map(len, pages)] == [2, 2]
    last = await api.get(ENTITIES, params={"entityTypeId": "Vendor", "after": made[0]})
    assert last.json() == {"data": [], "total": 4, "hasMore": False}


@pytest.mark.parametrize(
    "params",
    [
        {"after": "f" * 32},
        {"after": "wf_1"},
        {"after": "cbsvc_"},
        {"entityTypeId": "Service"},
        {"offset": 1},
        {"order": "newest"},
    ],
)
async def test_what_no_page_follows(api: httpx2.AsyncClient, params: dict[str, Any]) -> None:
    vendor = await created(api, {})
    asked = {"entityTypeId": "Vendor", "after": vendor} | params
    answer = await api.get(ENTITIES, params=asked)
    assert answer.status_code == 400
    (detail,) = answer.json()["error"]["details"]
    wrong = "after" if "entityTypeId" in params else next(iter(params))
    assert detail["path"] == f"query.{wrong}"


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, "query.entityTypeId"),
        ({"entityTypeId": "Nothing"}, "query.entityTypeId"),
        ({"entityTypeId": "f" * 32}, "query.entityTypeId"),
        ({"entityTypeId": "Vendor", "limit": 201}, "query.limit"),
        ({"entityTypeId": "Vendor", "offset": -1}, "query.offset"),
    ],
)
async def test_a_list_that_is_not_asked_for_well(
    api: httpx2.AsyncClient, params: dict[str, Any], path: str
) -> None:
    answer = await api.get(ENTITIES, params=params)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"][0]["path"]) == ("validation_error", path)


TYPED = {
    "name": "Thing",
    "pluralName": "Things",
    "fields": [
        {"name": "title", "type": "text", "required": True},
        {"name": "size", "type": "number"},
        {"name": "due", "type": "date"},
        {"name": "at", "type": "datetime"},
        {"name": "kind", "type": "select", "options": ["a", {"value": "b", "label": "B"}]},
        {"name": "tags", "type": "multiSelect", "options": ["x", "y"]},
        {"name": "open", "type": "boolean"},
        {"name": "site", "type": "url"},
        {"name": "mail", "type": "email"},
        {"name": "owner", "type": "relation"},
        {"name": "rest", "type": "json"},
    ],
}
GOOD: dict[str, Any] = {
    "title": "One",
    "size": 1.5,
    "due": "2026-06-30",
    "at": "2026-06-30T10:00:00Z",
    "kind": "b",
    "tags": ["x", "y"],
    "open": False,
    "site": "https://example.org/a?b",
    "mail": "a@example.org",
    "owner": ["f" * 32],
    "rest": {"any": [1]},
}


async def test_fields_are_as_their_type_says(api: httpx2.AsyncClient) -> None:
    assert (await api.post("/api/v1/entity-types", json=TYPED)).status_code == 201
    entity = await created(api, GOOD, "Thing")
    bad: dict[str, Any] = {
        "size": True,
        "due": "30.6.2026",
        "at": "soon",
        "kind": "c",
        "tags": ["x", "z"],
        "open": "no",
        "site": "ftp://example.org",
        "mail": "nobody",
        "owner": 7,
        "unknown": 1,
    }
    answer = await api.patch(f"{ENTITIES}/{entity}", json={"fields": bad | {"title": None}})
    assert answer.status_code == 400
    paths = {detail["path"] for detail in answer.json()["error"]["details"]}
    assert paths == {f"fields.{key}" for key in (*bad, "title")}
    assert "30.6.2026" not in answer.text
    missing = await api.post(ENTITIES, json={"entityTypeId": "Thing", "fields": {"size": 1}})
    assert [d["path"] for d in missing.json()["error"]["details"]] == ["fields.title"]
    assert (await api.get(f"{ENTITIES}/{entity}")).json()["fields"] == GOOD


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"a": "\0"}, "fields.a"), ({"a": [{"b\0": 1}]}, "fields.a"), ({"a\0": 1}, "fields.a\0")],
)
async def test_a_nul_character_is_refused(
    api: httpx2.AsyncClient, fields: dict[str, Any], path: str
) -> None:
    vendor = await created(api, {"a": 1})
    for answer in (
        await api.post(ENTITIES, json={"entityTypeId": "Vendor", "fields": fields}),
        await api.patch(f"{ENTITIES}/{vendor}", json={"fields": fields}),
    ):
        assert answer.status_code == 400
        assert [d["path"] for d in answer.json()["error"]["details"]] == [path]
    assert (await api.get(f"{ENTITIES}/{vendor}")).json()["fields"] == {"a": 1}


async def test_a_record_is_not_too_large(api: httpx2.AsyncClient) -> None:
    fields = {f"k{n}": "x" * 200_000 for n in range(2)}
    answer = await api.post(ENTITIES, json={"entityTypeId": "Vendor", "fields": fields})
    assert answer.status_code == 400
    assert "256 KiB" in answer.json()["error"]["message"]


async def test_the_same_key_makes_one_record(api: httpx2.AsyncClient) -> None:
    key = {"Idempotency-Key": "vendor-7"}
    body = {"entityTypeId": "Vendor", "fields": ACME}
    first = await api.post(ENTITIES, json=body, headers=key)
    again = await api.post(ENTITIES, json=body, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    other = await api.post(ENTITIES, json=body | {"fields": {}}, headers=key)
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert (await api.get(ENTITIES, params={"entityTypeId": "Vendor"})).json()["total"] == 1


async def test_foreign_records_look_unknown(door: Door, api: httpx2.AsyncClient) -> None:
    mine = await created(api, ACME)
    verbs: list[tuple[str, str, Any]] = [
        ("get", "", None),
        ("patch", "", {"fields": {}}),
        ("delete", "", None),
        ("post", "/restore", None),
    ]
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for verb, path, body in verbs:
            foreign = await other.request(verb, f"{ENTITIES}/{mine}{path}", json=body)
            unknown = await other.request(verb, f"{ENTITIES}/{'f' * 32}{path}", json=body)
            misspelt = await other.request(verb, f"{ENTITIES}/wf_1{path}", json=body)
            assert foreign.status_code == 404
            assert foreign.content == unknown.content == misspelt.content
        assert (await other.get(ENTITIES, params={"entityTypeId": "Vendor"})).json()["total"] == 0
    async with door.client(await door.key(Role.OPERATOR)) as operator:
        for verb, path, body in verbs[1:]:
            denied = await operator.request(verb, f"{ENTITIES}/{mine}{path}", json=body)
            assert denied.status_code == 403
        assert (await operator.get(f"{ENTITIES}/{mine}")).status_code == 200


async def test_what_nobody_restores_is_gone_after_thirty_days(
    app: FastAPI, api: httpx2.AsyncClient
) -> None:
    old, kept = [await created(api, {"n": n}) for n in range(2)]
    await api.delete(f"{ENTITIES}/{old}")
    database = app.state.services.database
    before = clock.now() + 1
    assert (
        await database.write(lambda tx: entities.purge(tx, before - entities.RESTORABLE, 10)) == 0
    )
    assert await database.write(lambda tx: entities.purge(tx, before, 10)) == 1
    assert (await api.post(f"{ENTITIES}/{old}/restore")).status_code == 404
    assert (await api.get(f"{ENTITIES}/{kept}")).status_code == 200
