"""Versions: who writes at the same time, what is compared, what is rolled back."""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import jsonpatch
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from app.settings import Settings
from engine.diff import same
from store import migrate
from store import tables as t
from store.values import encode
from tests import generated, postgresql
from tests.contract.conftest import ADMIN, Door, running, serving
from tests.contract.full_engine.definitions import QUIET

WRITERS = 50


async def created(api: httpx2.AsyncClient, definition: Any = QUIET, **more: Any) -> str:
    """The address of a new workflow."""
    answer = await api.post("/api/workflows", json={"definition": definition, **more})
    assert answer.status_code == 201, answer.text
    return f"/api/workflows/{answer.json()['id']}"


def called(name: str) -> dict[str, Any]:
    return {"definition": QUIET | {"name": name}}


# --- writers at the same time ----------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """A deployment on each of the databases."""
    if request.param == "sqlite":
        yield settings
        return
    with postgresql.fresh(request.getfixturevalue("postgresql")) as url:
        migrate.upgrade(url)
        yield settings.model_copy(update={"database_url": url})


@pytest.fixture
async def writer(either: Settings, temporal: str) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin with as many real connections as there are writers."""
    async with (
        running(either, temporal) as app,
        serving(app) as url,
        httpx2.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {ADMIN}"},
            limits=httpx2.Limits(max_connections=WRITERS),
            timeout=60,
        ) as client,
    ):
        yield client


async def test_many_writers_leave_versions_without_gap_or_double(
    writer: httpx2.AsyncClient,
) -> None:
    url = await created(writer)
    names = {f"writer {number}" for number in range(WRITERS)}
    answers = await asyncio.gather(*(writer.put(url, json=called(name)) for name in names))
    assert {answer.status_code for answer in answers} == {200}
    answered = {
        answer.json()["workflow"]["version"]: answer.json()["workflow"]["name"]
        for answer in answers
    }
    assert sorted(answered) == list(range(2, WRITERS + 2))
    assert set(answered.values()) == names
    listed = (await writer.get(f"{url}/versions?limit=200")).json()
    assert [row["version"] for row in listed["versions"]] == list(range(WRITERS + 1, 0, -1))
    assert listed["total"] == WRITERS + 1
    for number, name in answered.items():
        kept = (await writer.get(f"{url}/versions/{number}")).json()
        assert kept["definition"] == QUIET | {"name": name}
    latest = (await writer.get(url)).json()["workflow"]
    assert (latest["version"], latest["name"]) == (WRITERS + 1, answered[WRITERS + 1])


async def test_of_many_who_have_read_the_same_one_writes(writer: httpx2.AsyncClient) -> None:
    url = await created(writer)
    seen = {"if-match": (await writer.get(url)).headers["etag"]}
    answers = await asyncio.gather(
        *(writer.put(url, json=called(f"w{number}"), headers=seen) for number in range(WRITERS))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] + [412] * (WRITERS - 1)
    (won,) = [answer.json()["workflow"] for answer in answers if answer.status_code == 200]
    assert (await writer.get(url)).json()["workflow"] == won
    assert (await writer.get(f"{url}/versions")).json()["total"] == 2


# --- tags ------------------------------------------------------------------------------------


async def test_every_change_makes_another_tag_and_every_answer_has_it(
    api: httpx2.AsyncClient,
) -> None:
    answers = [await api.post("/api/workflows", json={"definition": QUIET})]
    url = answers[0].headers["location"]
    for method, path, body in (
        ("PUT", "", {"definition": QUIET}),
        ("PATCH", "/status", {"status": "paused"}),
        ("POST", "/rollback", {"version": 1}),
        ("PATCH", "/status", {"status": "active"}),
    ):
        answers.append(await api.request(method, url + path, json=body))
        assert answers[-1].status_code == 200, answers[-1].text
        found = await api.get(url)
        assert found.headers["etag"] == answers[-1].headers["etag"]
        assert found.json() == answers[-1].json()
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)
    same = await api.patch(f"{url}/status", json={"status": "active"})
    assert (same.headers["etag"], same.json()) == (tags[-1], answers[-1].json())


CHANGES: list[tuple[str, str, Any]] = [
    ("PUT", "", {"definition": QUIET | {"name": "other"}}),
    ("PATCH", "/status", {"status": "paused"}),
    ("POST", "/rollback", {"version": 1}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_of_something_else_than_was_read_is_refused(
    api: httpx2.AsyncClient, method: str, path: str, body: Any
) -> None:
    url = await created(api)
    first = (await api.get(url)).headers["etag"]
    await api.put(url, json=called("second"))
    now = await api.get(url)
    latest = now.headers["etag"]
    for refused in (first, f"W/{latest}", f'{first}, "x"', '""'):
        answer = await api.request(method, url + path, json=body, headers={"if-match": refused})
        assert answer.status_code == 412, (refused, answer.text)
        assert answer.json()["error"] == "precondition_failed"
        assert (await api.get(url)).json() == now.json()
    answer = await api.request(
        method, url + path, json=body, headers={"if-match": f"{first} , {latest}"}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize("written", ["3", '"a', 'a"b"', '"a" "b"', "*, *", "W/", ""])
async def test_what_is_no_list_of_tags_is_a_422(
    api: httpx2.AsyncClient, method: str, path: str, body: Any, written: str
) -> None:
    url = await created(api)
    answer = await api.request(method, url + path, json=body, headers={"if-match": written})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "header.if-match"
    assert (await api.get(url)).json()["workflow"]["version"] == 1


async def test_a_star_stands_for_whatever_is_there(api: httpx2.AsyncClient) -> None:
    url = await created(api)
    star = {"if-match": "*"}
    assert (await api.put(url, json=called("x"), headers=star)).status_code == 200
    assert (await api.delete(url, headers=star)).status_code == 200
    assert (await api.put(url, json=called("x"), headers=star)).status_code == 404


# --- update, compare, roll back --------------------------------------------------------------


async def test_an_update_keeps_what_it_is_not_told(api: httpx2.AsyncClient) -> None:
    url = await created(api, tags=["a"], trigger_type="event", status="draft")
    first = (await api.get(url)).json()["workflow"]
    body = {"definition": QUIET | {"name": "Renamed", "description": "New."}}
    second = (await api.put(url, json=body)).json()["workflow"]
    kept = ("id", "tags", "trigger_type", "status", "created_at")
    assert [second[key] for key in kept] == [first[key] for key in kept]
    assert (second["name"], second["description"]) == ("Renamed", "New.")
    assert second["updated_at"] > first["updated_at"]
    body = {"definition": QUIET, "tags": [], "trigger_type": "webhook"}
    third = (await api.put(url, json=body)).json()["workflow"]
    assert (third["tags"], third["trigger_type"], third["name"]) == ([], "webhook", "Quiet")
    assert third["description"] is None
    again = (await api.put(url, json={"definition": QUIET})).json()["workflow"]
    assert again["version"] == 4
    listed = (await api.get(f"{url}/versions")).json()["versions"]
    assert [row["change_summary"] for row in listed] == ["Updated"] * 3 + ["Initial version"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"definition": {"name": "x", "steps": []}},
        {"definition": QUIET | {"name": "a\0b"}},
        {"definition": QUIET, "change_summary": ""},
        {"definition": QUIET, "change_summary": "a\0b"},
        {"definition": QUIET, "change_summary": "x" * 501},
        {"definition": QUIET, "tags": [""]},
        {"definition": QUIET, "trigger_type": "moon"},
        {"definition": QUIET, "status": "active"},
    ],
)
async def test_a_wrong_update_is_a_422_and_changes_nothing(
    api: httpx2.AsyncClient, body: Any
) -> None:
    url = await created(api)
    before = (await api.get(url)).json()
    answer = await api.put(url, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]
    assert (await api.get(url)).json() == before


async def test_an_invalid_update_says_what_validate_says(api: httpx2.AsyncClient) -> None:
    url = await created(api)
    step = {"id": "a", "type": "nope", "config": {}, "depends_on": ["b"]}
    definition = {"name": "x", "steps": [step]}
    said = (await api.post("/api/workflows/validate", json={"definition": definition})).json()
    answer = await api.put(url, json={"definition": definition})
    assert answer.status_code == 422
    assert len(said["errors"]) > 1
    assert answer.json()["errors"] == said["errors"]
    assert answer.json()["problems"] == said["problems"]


async def test_versions_are_read_page_by_page(api: httpx2.AsyncClient) -> None:
    url = await created(api)
    for number in range(2, 8):
        await api.put(url, json=called("x") | {"change_summary": f"to {number}"})
    seen = []
    for offset in range(0, 9, 3):
        page = (await api.get(f"{url}/versions?limit=3&offset={offset}")).json()
        assert page["total"] == 7
        seen += [row["version"] for row in page["versions"]]
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("versions?limit=201", 422),
        ("versions/2", 404),
        ("versions/0", 404),
        ("versions/x", 422),
        ("versions/9999999999", 422),
        ("diff?v1=1&v2=2", 404),
        ("diff?v1=0&v2=1", 404),
        ("diff?v1=1", 422),
        ("diff?v1=x&v2=1", 422),
        ("diff?v1=1&v2=1", 200),
    ],
)
async def test_what_is_no_version(api: httpx2.AsyncClient, path: str, status: int) -> None:
    answer = await api.get(f"{await created(api)}/{path}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"diff": [], "summary": "No changes", "v1": 1, "v2": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"version": 2}, 404),
        ({"version": 0}, 404),
        ({"version": "1"}, 422),
        ({"version": True}, 422),
        ({"version": -1}, 422),
        ({}, 422),
        ({"version": 1, "change_summary": ""}, 422),
        ({"version": 1, "to": 1}, 422),
    ],
)
async def test_a_wrong_rollback_changes_nothing(
    api: httpx2.AsyncClient, body: Any, status: int
) -> None:
    url = await created(api)
    assert (await api.post(f"{url}/rollback", json=body)).status_code == status
    assert (await api.get(f"{url}/versions")).json()["total"] == 1


async def test_a_rollback_says_so_in_its_own_words_or_in_the_caller_s(
    api: httpx2.AsyncClient,
) -> None:
    url = await created(api)
    await api.post(f"{url}/rollback", json={"version": 1})
    await api.post(f"{url}/rollback", json={"version": 1, "change_summary": "Back again"})
    listed = (await api.get(f"{url}/versions")).json()["versions"]
    said = [row["change_summary"] for row in listed]
    assert said == ["Back again", "Rolled back to version 1", "Initial version"]


async def test_a_definition_that_is_not_valid_any_more_is_not_rolled_back_to(
    api: httpx2.AsyncClient, door: Door
) -> None:
    url = await created(api)
    await api.put(url, json=called("valid"))
    old = QUIET | {"steps": [{"id": "a", "type": "a_type_that_is_gone", "config": {}}]}
    mine = t.versions.c.workflow_id == url.rpartition("_")[2]
    outdated = update(t.versions).where(mine, t.versions.c.version == 1)
    await door.database.write(lambda tx: tx.execute(outdated.values(definition=encode(old))))
    answer = await api.post(f"{url}/rollback", json={"version": 1})
    assert answer.status_code == 422
    assert "a_type_that_is_gone" in answer.json()["errors"][0]
    assert (await api.get(url)).json()["workflow"]["version"] == 2
    assert (await api.get(f"{url}/versions/1")).json()["definition"] == old


@given(edits=st.lists(generated.definitions(), min_size=1, max_size=4), data=st.data())
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_versions_keep_what_was_written_and_a_rollback_repeats_it(
    app: FastAPI, door: Door, edits: list[dict[str, Any]], data: st.DataObject
) -> None:
    async with door.client() as api:
        url = await created(api, edits[0])
        for definition in edits[1:]:
            answer = await api.put(url, json={"definition": definition})
            assert answer.status_code == 200, answer.text
        back = data.draw(st.integers(1, len(edits)))
        answer = await api.post(f"{url}/rollback", json={"version": back})
        assert answer.status_code == 200, answer.text
        latest = answer.json()["workflow"]
        assert latest["version"] == len(edits) + 1
        kept = [
            (await api.get(f"{url}/versions/{number}")).json()["definition"]
            for number in range(1, len(edits) + 2)
        ]
        assert encode(kept) == encode([*edits, edits[back - 1]])
        told = (await api.get(f"{url}/diff?v1={back}&v2={len(edits) + 1}")).json()
        assert (told["diff"], told["summary"]) == ([], "No changes")
        told = (await api.get(f"{url}/diff?v1={len(edits)}&v2={len(edits) + 1}")).json()
        patched = jsonpatch.apply_patch(copy.deepcopy(kept[-2]), told["diff"])
        assert same(patched, kept[-1])
