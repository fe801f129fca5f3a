"""Schedules: create, read, list, change, delete, pause and resume; what is refused."""

from typing import Any

import httpx2
import pytest
from temporalio.client import Client, ScheduleOverlapPolicy
from temporalio.service import RPCError

from app.settings import Settings
from engine.roles import Role
from store import schedules
from tests.contract.conftest import Door, running
from tests.contract.full_engine.timing import (
    PUBLISHED,
    create,
    in_temporal,
    read,
    scheduled,
)


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


async def test_create_answers_the_published_way(api: httpx2.AsyncClient, client: Client) -> None:
    workflow_id = await create(api)
    answer = await api.post(f"/api/workflows/{workflow_id}/schedules", json=PUBLISHED)
    assert answer.status_code == 201, answer.text
    schedule_id = answer.json()["schedule_id"]
    assert answer.json() == {"schedule_id": schedule_id}
    assert schedule_id.startswith("sched_")
    assert answer.headers["location"] == f"/api/workflows/schedules/{schedule_id}"
    schedule = await read(api, answer.headers["location"])
    assert schedule == {
        "id": schedule_id,
        "workflow_id": workflow_id,
        **PUBLISHED,
        "enabled": True,
        "overlap": "skip",
        "catchup_window": 60,
        "paused": False,
        "note": None,
        "next_run_at": schedule["next_run_at"],
        "last_run_at": None,
        "created_at": schedule["created_at"],
        "updated_at": schedule["updated_at"],
    }
    listed = await api.get(f"/api/workflows/{workflow_id}/schedules")
    assert listed.json() == {"schedules": [schedule], "total": 1}

    found = await in_temporal(client, answer.headers["location"])
    assert found.info.next_action_times[0].strftime("%Y-%m-%dT%H:%M:%SZ") == schedule["next_run_at"]
    assert not found.schedule.state.paused
    assert found.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    # What is the user's stays in the store: decision 0004.
    assert "daily" not in str(found.raw_description)


async def test_an_input_that_no_run_would_take_is_refused(api: httpx2.AsyncClient) -> None:
    definition = {
        "name": "Strict",
        "steps": [{"id": "a", "type": "transform", "config": {"output": 1}}],
        "input_schema": {"type": "object", "required": ["report"]},
    }
    made = await api.post("/api/workflows", json={"definition": definition})
    assert made.status_code == 201, made.text
    url = f"/api/workflows/{made.json()['id']}/schedules"
    terms = {"cron_expression": "0 9 * * 1-5", "input_data": {}}
    answer = await api.post(url, json=terms)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"].startswith("input_data")
    made = await api.post(url, json=terms | {"input_data": {"report": "daily"}})
    assert made.status_code == 201
    changed = await api.put(made.headers["location"], json=terms)
    assert changed.status_code == 422


async def test_lists_are_newest_first_and_paged(api: httpx2.AsyncClient) -> None:
    workflow_id, other = await create(api), await create(api)
    addresses = [await scheduled(api, workflow_id) for _ in range(3)]
    await scheduled(api, other)
    ids = [address.rpartition("/")[2] for address in reversed(addresses)]
    page = (await api.get(f"/api/workflows/{workflow_id}/schedules")).json()
    assert ([row["id"] for row in page["schedules"]], page["total"]) == (ids, 3)
    page = (await api.get(f"/api/workflows/{workflow_id}/schedules?limit=1&offset=1")).json()
    assert ([row["id"] for row in page["schedules"]], page["total"]) == (ids[1:2], 3)
    assert (await api.get(f"/api/workflows/{workflow_id}/schedules?limit=201")).status_code == 422


async def test_a_key_makes_one_schedule(api: httpx2.AsyncClient) -> None:
    workflow_id = await create(api)
    address = f"/api/workflows/{workflow_id}/schedules"
    key = {"Idempotency-Key": "once"}
    first = await api.post(address, json=PUBLISHED, headers=key)
    again = await api.post(address, json=PUBLISHED, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    other = await api.post(address, json=PUBLISHED | {"timezone": "UTC"}, headers=key)
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
    assert (await api.get(address)).json()["total"] == 1


async def test_a_change_replaces_everything(api: httpx2.AsyncClient, client: Client) -> None:
    address = await scheduled(api, note="old", catchup_window=3_600, overlap="allow_all")
    answer = await api.put(address, json={"cron_expression": "30 */6 * * *"})
    assert answer.status_code == 200, answer.text
    schedule = answer.json()["schedule"]
    assert (schedule["cron_expression"], schedule["timezone"]) == ("30 */6 * * *", "UTC")
    assert (schedule["input_data"], schedule["note"]) == ({}, None)
    assert (schedule["overlap"], schedule["catchup_window"]) == ("skip", 60)
    assert (schedule["paused"], schedule["enabled"]) == (False, True)
    assert schedule["next_run_at"] is not None
    found = (await in_temporal(client, address)).schedule
    # One calendar: what an edit leaves in place would fire beside the new one.
    (calendar,) = found.spec.calendars
    assert [hour.start for hour in calendar.hour] == [0, 6, 12, 18]
    assert found.spec.time_zone_name == "UTC"
    assert not found.state.paused
    times = (await api.get(f"{address}/preview?count=1000")).json()["times"]
    assert {time["at"][11:] for time in times} == {f"{hour:02}:30:00Z" for hour in (0, 6, 12, 18)}


async def test_pause_and_resume_with_notes(api: httpx2.AsyncClient, client: Client) -> None:
    address = await scheduled(api, paused=False)
    paused = await api.post(f"{address}/pause", json={"note": "The source is down."})
    assert paused.status_code == 200
    schedule = paused.json()["schedule"]
    assert (schedule["paused"], schedule["enabled"]) == (True, False)
    assert (schedule["note"], schedule["next_run_at"]) == ("The source is down.", None)
    found = (await in_temporal(client, address)).schedule
    assert found.state.paused
    assert found.state.note is None
    again = (await api.post(f"{address}/pause")).json()["schedule"]
    assert (again["paused"], again["note"]) == (True, "The source is down.")
    resumed = (await api.post(f"{address}/resume", json={"note": "It is back."})).json()["schedule"]
    assert (resumed["paused"], resumed["enabled"]) == (False, True)
    assert resumed["note"] == "It is back."
    assert resumed["next_run_at"] is not None
    assert not (await in_temporal(client, address)).schedule.state.paused


async def test_a_deleted_schedule_is_gone(
    api: httpx2.AsyncClient, client: Client, door: Door
) -> None:
    address = await scheduled(api)
    answer = await api.delete(address)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    for again in (await api.delete(address), await api.get(address)):
        assert again.status_code == 404
        assert again.json()["error"] == "not_found"
    with pytest.raises(RPCError, match="not found"):
        await in_temporal(client, address)
    digits = address.rpartition("sched_")[2]
    assert await door.database.read(lambda tx: schedules.by_id(tx, digits)) is None


@pytest.mark.parametrize(
    ("terms", "paths", "says"),
    [
        ({"cron_expression": "0 9 * * 1-5 2027"}, ["cron_expression"], "five fields"),
        ({"cron_expression": "0 0 9 * * 1-5 *"}, ["cron_expression"], "five fields"),
        ({"cron_expression": "@daily"}, ["cron_expression"], "five fields"),
        ({"cron_expression": "CRON_TZ=UTC 0 9 * * *"}, ["cron_expression"], "five fields"),
        ({"cron_expression": "60 24 0 13 8"}, ["cron_expression"], "month must be 1 to 12"),
        ({"cron_expression": "0 9 * * FRI-MON"}, ["cron_expression"], "ends before it begins"),
        ({"cron_expression": "0 9 ? * L"}, ["cron_expression"], "day of the month is not"),
        ({"cron_expression": "*/0 * * * *"}, ["cron_expression"], "step of 0"),
        ({"cron_expression": "0 0 31 2 *"}, ["cron_expression"], "never fire"),
        ({"cron_expression": "0 0 31 2,4,6,9,11 *"}, ["cron_expression"], "never fire"),
        ({"cron_expression": "0 " * 200}, ["cron_expression"], "200"),
        ({"cron_expression": 5}, ["cron_expression"], "text"),
        ({"cron_expression": "0 9 * *\0 *"}, ["cron_expression"], "month is not"),
        ({"timezone": "Mars/Base"}, ["timezone"], "time zone"),
        ({"timezone": "../etc/passwd"}, ["timezone"], "time zone"),
        ({"timezone": ""}, ["timezone"], "time zone"),
        ({"timezone": "localtime"}, ["timezone"], "time zone"),
        ({"overlap": "queue"}, ["overlap"], "skip"),
        ({"catchup_window": 9}, ["catchup_window"], "10"),
        ({"catchup_window": 31_536_001}, ["catchup_window"], "31536000"),
        ({"note": "a\0b"}, ["note"], "NUL"),
        ({"input_data": []}, ["input_data"], "object"),
        ({"surprise": 1}, ["surprise"], "not known"),
        (
            {"cron_expression": "* *", "timezone": "x", "overlap": "y", "catchup_window": 0},
            ["cron_expression", "timezone", "overlap", "catchup_window"],
            "five fields",
        ),
    ],
)
async def test_wrong_terms_are_refused_all_at_once(
    api: httpx2.AsyncClient, terms: dict[str, Any], paths: list[str], says: str
) -> None:
    workflow_id = await create(api)
    address = f"/api/workflows/{workflow_id}/schedules"
    answer = await api.post(address, json=PUBLISHED | terms)
    assert answer.status_code == 422, answer.text
    body = answer.json()
    assert body["error"] == "validation_error"
    assert [problem["path"] for problem in body["problems"]] == [f"body.{path}" for path in paths]
    assert says in " ".join(body["errors"])
    assert "Mars" not in answer.text
    assert (await api.get(address)).json()["total"] == 0


async def test_foreign_and_unknown_look_the_same(api: httpx2.AsyncClient, door: Door) -> None:
    workflow_id = await create(api)
    mine = (await scheduled(api, workflow_id)).rpartition("/")[2]
    async with door.client(await door.key(Role.ADMIN, "others")) as stranger:
        for method, path, json in (
            ("GET", "schedules/{}", None),
            ("PUT", "schedules/{}", PUBLISHED),
            ("DELETE", "schedules/{}", None),
            ("POST", "schedules/{}/pause", None),
            ("POST", "schedules/{}/resume", None),
            ("POST", "schedules/{}/trigger", None),
            (
                "POST",
                "schedules/{}/backfill",
                {"start_at": "2026-01-01T00:00:00Z", "end_at": "2026-01-02T00:00:00Z"},
            ),
            ("GET", "schedules/{}/preview", None),
        ):
            answers = [
                await stranger.request(method, "/api/workflows/" + path.format(one), json=json)
                for one in (mine, "sched_" + "0" * 32, mine.removeprefix("sched_"), "sched_%00")
            ]
            assert {answer.status_code for answer in answers} == {404}, path
            assert len({answer.content for answer in answers}) == 1, path
        for method in ("GET", "POST"):
            answers = [
                await stranger.request(
                    method,
                    f"/api/workflows/{one}/schedules",
                    json=PUBLISHED if method == "POST" else None,
                )
                for one in (workflow_id, "wf_" + "0" * 32)
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert len({answer.content for answer in answers}) == 1
    assert (await read(api, f"/api/workflows/schedules/{mine}"))["paused"] is True


async def test_temporal_may_be_away(settings: Settings, unused_tcp_port: int) -> None:
    """A change stands without Temporal; what has to be asked of it is a 503."""
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            address = await scheduled(api, paused=False)
            schedule = await read(api, address)
            assert (schedule["enabled"], schedule["next_run_at"]) == (True, None)
            for verb in ("trigger", "preview"):
                method = "GET" if verb == "preview" else "POST"
                answer = await api.request(method, f"{address}/{verb}")
                assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
            assert (await api.delete(address)).status_code == 200
            assert (await api.get(address)).status_code == 404
