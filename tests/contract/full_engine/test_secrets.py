"""`/api/secrets`: written, listed by name, removed, and never answered."""

import logging
import os
import sqlite3
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.services.secrets import LARGEST
from app.settings import Settings
from engine.roles import Role
from tests.contract.conftest import ADMIN, Door, running

VALUE = "a value that is nowhere else"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of every test, and a key."""
    return Settings.model_validate(
        settings.model_dump() | {"secrets_key": os.urandom(32).hex(), "api_key": ADMIN}
    )


async def names(api: httpx2.AsyncClient, **query: int) -> list[str]:
    listed = (await api.get("/api/secrets", params=query)).json()
    return [row["name"] for row in listed["secrets"]]


async def test_a_secret_is_kept_replaced_listed_and_removed(api: httpx2.AsyncClient) -> None:
    made = await api.put("/api/secrets/TOKEN", json={"value": VALUE})
    assert made.status_code == 201, made.text
    body = made.json()
    assert body == {
        "name": "TOKEN",
        "created_at": body["created_at"],
        "updated_at": body["created_at"],
    }
    assert body["created_at"].endswith("Z")

    again = await api.put("/api/secrets/TOKEN", json={"value": "another"})
    assert again.status_code == 200
    assert again.json()["created_at"] == body["created_at"] < again.json()["updated_at"]

    listed = await api.get("/api/secrets")
    assert listed.json() == {"secrets": [again.json()], "total": 1}

    gone = await api.delete("/api/secrets/TOKEN")
    assert (gone.status_code, gone.json()) == (200, {"success": True})
    again = await api.delete("/api/secrets/TOKEN")
    assert (again.status_code, again.json()) == (
        404,
        {"error": "not_found", "message": "There is no such secret.", "status": 404},
    )
    assert (await api.get("/api/secrets")).json() == {"secrets": [], "total": 0}


async def test_pages(api: httpx2.AsyncClient) -> None:
    for name in ("C", "A", "B"):
        await api.put(f"/api/secrets/{name}", json={"value": "x"})
    assert await names(api) == ["A", "B", "C"]
    assert await names(api, limit=1, offset=1) == ["B"]
    assert (await api.get("/api/secrets", params={"limit": 1})).json()["total"] == 3
    assert (await api.get("/api/secrets", params={"limit": 201})).status_code == 422


@pytest.mark.parametrize("name", ["1A", "a-b", "a.b", "A" * 65, "ü", "a%0A", "a%00"])
async def test_a_name_is_that_of_a_variable(api: httpx2.AsyncClient, name: str) -> None:
    for answer in (
        await api.put(f"/api/secrets/{name}", json={"value": VALUE}),
        await api.delete(f"/api/secrets/{name}"),
    ):
        assert answer.status_code == 422, name
        assert VALUE not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        {"value": ""},
        {"value": "ü" * (LARGEST // 2) + VALUE},
        {"value": {"inner": VALUE}},
        {"value": 48151623},
        {"value": None},
        {"value": VALUE, "more": VALUE},
        {"valu": VALUE},
        VALUE,
    ],
)
async def test_what_is_refused_is_not_shown(
    api: httpx2.AsyncClient, body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await api.put("/api/secrets/A", json=body)
    assert answer.status_code == 422, answer.text
    shown = answer.text + caplog.text
    assert VALUE not in shown
    assert "48151623" not in shown
    assert await names(api) == []


@pytest.mark.parametrize("value", ["x", "ü" * (LARGEST // 2), "a\0b\r\n", " "])
async def test_values_of_any_text_are_taken(api: httpx2.AsyncClient, value: str) -> None:
    answer = await api.put("/api/secrets/A", json={"value": value})
    assert answer.status_code == 201, answer.text


async def test_only_editors_and_only_their_own(door: Door, api: httpx2.AsyncClient) -> None:
    await api.put("/api/secrets/A", json={"value": VALUE})
    for role in (Role.VIEWER, Role.RUNNER, Role.OPERATOR):
        async with door.client(await door.key(role)) as client:
            for answer in (
                await client.get("/api/secrets"),
                await client.put("/api/secrets/A", json={"value": "x"}),
                await client.delete("/api/secrets/A"),
            ):
                assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    async with door.client(await door.key(Role.EDITOR, "other")) as other:
        assert (await other.get("/api/secrets")).json()["total"] == 0
        assert (await other.delete("/api/secrets/A")).status_code == 404
        assert (await other.put("/api/secrets/A", json={"value": "x"})).status_code == 201
    assert await names(api) == ["A"]


async def test_nothing_keeps_the_value(
    api: httpx2.AsyncClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the idempotency records, not the file of the database, not the log."""
    caplog.set_level(logging.DEBUG)
    for _ in range(2):
        answer = await api.put(
            "/api/secrets/A", json={"value": VALUE}, headers={"Idempotency-Key": "one"}
        )
        assert answer.is_success
        assert VALUE not in answer.text
    path = settings.database_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM idempotency").fetchone() == (0,)
        assert VALUE not in "\n".join(file.iterdump())
    assert VALUE not in caplog.text


async def test_the_openapi_document_says_that_it_is_only_written(api: httpx2.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    value = document["components"]["schemas"]["SecretIn"]["properties"]["value"]
    assert value["writeOnly"] is True
    for path in ("/api/secrets", "/api/secrets/{name}"):
        for operation in document["paths"][path].values():
            assert "value" not in str(operation["responses"])


async def test_without_a_key_there_is_nothing_to_write_with(
    settings: Settings, temporal: str
) -> None:
    bare = settings.model_copy(update={"secrets_key": Settings.model_fields["secrets_key"].default})
    async with running(bare, temporal) as app:
        await _refused(app)


async def _refused(app: FastAPI) -> None:
    async with Door(app, app.state.services.database).client() as client:
        answer = await client.put("/api/secrets/A", json={"value": VALUE})
        assert answer.status_code == 503
        assert answer.json() == {
            "error": "secrets_not_configured",
            "message": "Secrets cannot be kept: SIGNALBOX_SECRETS_KEY is not set.",
            "status": 503,
        }
        assert (await client.get("/api/secrets")).json() == {"secrets": [], "total": 0}
        assert (await client.delete("/api/secrets/A")).status_code == 404
