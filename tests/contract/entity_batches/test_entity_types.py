"""/api/v1/entity-types over the wire."""

from typing import Any

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door

TYPES = "/api/v1/entity-types"
BLOG: dict[str, Any] = {
    "name": "BlogPost",
    "pluralName": "Blog posts",
    "fields": [
        {"name": "Title", "type": "text", "required": True},
        {"name": "Word count", "type": "number", "hint": "kept"},
    ],
}


async def test_every_organisation_has_vendors_and_services(api: httpx2.AsyncClient) -> None:
    page = (await api.get(TYPES)).json()
    assert (page["total"], page["hasMore"]) == (2, False)
    assert {row["name"]: (row["pluralName"], row["builtin"]) for row in page["data"]} == {
        "Vendor": ("Vendors", True),
        "Service": ("Services", True),
    }
    vendor = (await api.get(f"{TYPES}/Vendor")).json()
    assert (await api.get(f"{TYPES}/{vendor['id']}")).json() == vendor
    for verb, body in (("patch", {"icon": "x"}), ("delete", None)):
        answer = await api.request(verb, f"{TYPES}/Vendor", json=body)
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "conflict"


async def test_a_type_lives(api: httpx2.AsyncClient) -> None:
    made = await api.post(TYPES, json=BLOG)
    assert made.status_code == 201
    row = made.json()
    assert set(row) == {
        "id",
        "name",
        "pluralName",
        "slug",
        "description",
        "icon",
        "fields",
        "builtin",
        "createdAt",
        "updatedAt",
    }
    assert row["slug"] == "blog_posts"
    assert row["fields"] == [
        {"name": "Title", "type": "text", "required": True, "slug": "Title"},
        {"name": "Word count", "type": "number", "hint": "kept", "slug": "word_count"},
    ]
    url = f"{TYPES}/{row['id']}"
    changed = await api.patch(url, json={"description": "Posts", "fields": []})
    assert changed.status_code == 200
    assert changed.json() == row | {
        "description": "Posts",
        "fields": [],
        "updatedAt": changed.json()["updatedAt"],
    }
    entity = await api.post("/api/v1/entities", json={"entityTypeId": "BlogPost", "fields": {}})
    assert entity.status_code == 201
    assert (await api.delete(url)).status_code == 409
    await api.delete(f"/api/v1/entities/{entity.json()['id']}")
    assert (await api.delete(url)).status_code == 409
    other = (await api.post(TYPES, json=BLOG | {"name": "Page", "pluralName": "Pages"})).json()
    assert (await api.delete(f"{TYPES}/{other['id']}")).json() == {
        "id": other["id"],
        "deleted": True,
    }
    assert (await api.get(f"{TYPES}/{other['id']}")).status_code == 404


async def test_names_and_slugs_are_each_there_once(api: httpx2.AsyncClient) -> None:
    await api.post(TYPES, json=BLOG)
    for twin in (BLOG | {"slug": "other"}, BLOG | {"name": "Other"}):
        answer = await api.post(TYPES, json=twin)
        assert answer.status_code == 409
    second = (await api.post(TYPES, json=BLOG | {"name": "Page", "pluralName": "Pages"})).json()
    for change in ({"name": "BlogPost"}, {"slug": "blog_posts"}, {"name": "Vendor"}):
        answer = await api.patch(f"{TYPES}/{second['id']}", json=change)
        assert answer.status_code == 409, change


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"name": "Assessment"}, ["name"]),
        ({"name": "f" * 32}, ["name"]),
        ({"name": "A.B"}, ["name"]),
        (
            {"fields": [{"name": "", "type": "colour", "options": [1], "required": 3}]},
            ["fields[0].name", "fields[0].type", "fields[0].required", "fields[0].options"],
        ),
        (
            {"fields": [{"name": "a", "type": "text"}, {"name": "A", "slug": "a", "type": "url"}]},
            ["fields[1]"],
        ),
        ({"fields": [{"name": "a", "slug": "a-b", "type": "text"}]}, ["fields[0].slug"]),
        ({"colour": "red"}, ["colour"]),
        ({"pluralName": None}, ["pluralName"]),
    ],
)
async def test_what_is_wrong_is_listed(
    api: httpx2.AsyncClient, change: dict[str, Any], paths: list[str]
) -> None:
    answer = await api.post(TYPES, json=BLOG | change)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "validation_error"
    assert [detail["path"] for detail in error["details"]] == paths


async def test_foreign_types_and_low_roles(door: Door, api: httpx2.AsyncClient) -> None:
    mine = (await api.post(TYPES, json=BLOG)).json()
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        for verb, body in (("get", None), ("patch", {"icon": "x"}), ("delete", None)):
            foreign = await other.request(verb, f"{TYPES}/{mine['id']}", json=body)
            unknown = await other.request(verb, f"{TYPES}/{'f' * 32}", json=body)
            assert foreign.status_code == unknown.status_code == 404
            assert foreign.content == unknown.content
        assert (await other.get(TYPES)).json()["total"] == 2
    async with door.client(await door.key(Role.RUNNER)) as runner:
        denied = await runner.post(TYPES, json=BLOG)
        assert denied.status_code == 403
        assert denied.json()["error"]["code"] == "forbidden"
    async with door.client(None) as nobody:
        assert (await nobody.get(TYPES)).json()["error"]["code"] == "unauthorized"
    for path, status, code in (
        ("/api/v1/nothing", 404, "not_found"),
        ("/api/v1/entities/import", 404, "not_found"),
    ):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_key_is_bound_to_its_project(api: httpx2.AsyncClient) -> None:
    wrong = await api.get(TYPES, headers={"X-Project-Id": "f" * 32})
    assert wrong.status_code == 403
    assert wrong.json() == {
        "error": {"code": "forbidden", "message": "The key belongs to another project."}
    }
