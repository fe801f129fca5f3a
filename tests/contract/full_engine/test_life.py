"""What a workflow's status means for its runs, what is left of one that was deleted, who may."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from app.settings import Settings
from engine.roles import Role
from tests.contract.conftest import Door, running
from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until
from workflows.contract import workflow_id


def waiting_for(gate: Path) -> dict[str, Any]:
    """A definition whose first step goes on when the file is there, and does not notice a pause."""
    source = f"until [ -e '{gate}' ]; do sleep 0.1; done"
    return {
        "name": "Slow",
        "steps": [
            {"id": "sleep", "type": "script", "config": {"language": "shell", "source": source}},
            {"id": "last", "type": "transform", "config": {"output": 2}, "depends_on": ["sleep"]},
        ],
    }


async def run_of(api: httpx2.AsyncClient, definition: dict[str, Any]) -> tuple[str, str]:
    """The addresses of a new workflow and of a new run of it."""
    run = f"/api/workflows/runs/{await create_and_run(api, definition)}"
    workflow = (await api.get(run)).json()["run"]["workflow_id"]
    return f"/api/workflows/{workflow}", run


async def events_of(api: httpx2.AsyncClient, run: str) -> list[str]:
    """The types of what a run that is over has told."""
    text = (await api.get(f"{run}/stream")).text
    return [line.removeprefix("event: ") for line in text.splitlines() if line[:6] == "event:"]


# --- the status --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answered"), [("draft", 202), ("active", 202), ("paused", 409), ("archived", 409)]
)
async def test_the_status_says_what_runs(
    api: httpx2.AsyncClient, status: str, answered: int
) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET, "status": "archived"})
    url = created.headers["location"]
    assert (await api.post(f"{url}/run")).status_code == 409
    assert (await api.patch(f"{url}/status", json={"status": status})).status_code == 200
    assert (await api.post(f"{url}/run")).status_code == answered
    listed = (await api.get(f"/api/workflows?status={status}")).json()
    assert listed["total"] == 1


@pytest.mark.usefixtures("worker")
async def test_a_paused_workflow_pauses_its_runs_between_steps(
    api: httpx2.AsyncClient, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    url, run = await run_of(api, waiting_for(gate))
    run_id = run.rpartition("/")[2]
    async with asyncio.timeout(30):
        while (await api.get(run)).json()["run"]["step_runs"][0]["status"] != "running":
            await asyncio.sleep(0.02)
    assert (await api.patch(f"{url}/status", json={"status": "paused"})).status_code == 200
    asked = (await api.get(run)).json()["run"]
    assert (asked["status"], asked["intent"]) == ("running", "pause")
    gate.touch()
    paused = await until(api, run_id, "paused", "completed")
    steps = [(step["step_id"], step["status"]) for step in paused["step_runs"]]
    assert steps == [("sleep", "completed"), ("last", "pending")]
    # Nothing goes on by itself when the workflow is active again.
    assert (await api.patch(f"{url}/status", json={"status": "active"})).status_code == 200
    other = (await api.post(f"{url}/run")).json()["run_id"]
    await until(api, other, "completed")
    assert (await api.get(run)).json()["run"]["status"] == "paused"
    assert (await api.post(f"{run}/resume")).status_code == 202
    assert (await until(api, run_id, "completed"))["output"] == 2


async def test_a_paused_workflow_pauses_its_pending_runs_at_once(api: httpx2.AsyncClient) -> None:
    url, run = await run_of(api, QUIET)
    before = (await api.get(url)).json()["workflow"]
    answer = await api.patch(f"{url}/status", json={"status": "paused"})
    after = answer.json()["workflow"]
    assert after == before | {"status": "paused", "updated_at": after["updated_at"]}
    assert after["updated_at"] > before["updated_at"]
    assert (await api.get(run)).json()["run"]["status"] == "paused"
    assert (await api.post(f"{run}/resume")).status_code == 202
    # The same status again changes nothing, and so pauses nothing.
    again = await api.patch(f"{url}/status", json={"status": "paused"})
    assert (again.status_code, again.json()) == (200, answer.json())
    assert (await api.get(run)).json()["run"]["status"] == "pending"


@pytest.mark.usefixtures("worker")
async def test_runs_of_an_archived_workflow_finish(api: httpx2.AsyncClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    url, run = await run_of(api, waiting_for(gate))
    assert (await api.patch(f"{url}/status", json={"status": "archived"})).status_code == 200
    assert (await api.post(f"{url}/run")).status_code == 409
    gate.touch()
    finished = await until(api, run.rpartition("/")[2], "completed", "failed", "paused")
    assert finished["status"] == "completed"


@pytest.mark.parametrize(
    "body", [{}, {"status": "deleted"}, {"status": None}, {"status": "active", "x": 1}, [], None]
)
async def test_a_wrong_status_is_a_422(api: httpx2.AsyncClient, body: Any) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    url = created.headers["location"]
    assert (await api.patch(f"{url}/status", json=body)).status_code == 422
    assert (await api.get(url)).headers["etag"] == created.headers["etag"]


# --- deletion ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
async def test_a_deleted_workflow_takes_its_live_runs_with_it(api: httpx2.AsyncClient) -> None:
    url, run = await run_of(api, PATIENT)
    run_id = run.rpartition("/")[2]
    async with asyncio.timeout(30):
        while "waiting_until" not in (await api.get(run)).json()["run"]["step_runs"][1]:
            await asyncio.sleep(0.02)
    await api.put(url, json={"definition": QUIET})
    done = (await api.post(f"{url}/run")).json()["run_id"]
    await until(api, done, "completed")
    assert (await api.delete(url)).json() == {"success": True}
    cancelled = await until(api, run_id, "cancelled", "completed", "failed")
    assert cancelled["status"] == "cancelled"
    # What is left: the runs with the steps of their version, and no way to the workflow.
    assert (cancelled["workflow_id"], cancelled["workflow_name"]) == (None, "Patient")
    assert [step["step_id"] for step in cancelled["step_runs"]] == ["first", "day", "last"]
    kept = (await api.get(f"/api/workflows/runs/{done}")).json()["run"]
    assert (kept["status"], kept["workflow_id"], kept["output"]) == ("completed", None, 1)
    assert (await events_of(api, run)).count("run_completed") == 1
    for gone in (
        await api.get(url),
        await api.put(url, json={"definition": QUIET}),
        await api.patch(f"{url}/status", json={"status": "active"}),
        await api.get(f"{url}/versions"),
        await api.get(f"{url}/versions/1"),
        await api.get(f"{url}/diff?v1=1&v2=2"),
        await api.post(f"{url}/rollback", json={"version": 1}),
        await api.post(f"{url}/run"),
        await api.get(f"{url}/runs"),
        await api.delete(url),
    ):
        assert (gone.status_code, gone.json()["error"]) == (404, "not_found"), gone.request
    assert (await api.get("/api/workflows")).json()["total"] == 0
    resumed = await api.post(f"{run}/resume")
    assert (resumed.status_code, resumed.json()["error"]) == (409, "conflict")
    assert "deleted" in resumed.json()["message"]


async def test_pending_and_paused_runs_are_cancelled_at_once_and_temporal_is_told(
    api: httpx2.AsyncClient, temporal: str
) -> None:
    url, pending = await run_of(api, QUIET)
    paused = f"/api/workflows/runs/{(await api.post(f'{url}/run')).json()['run_id']}"
    await api.post(f"{paused}/pause")
    await api.delete(url)
    for run in (pending, paused):
        assert (await api.get(run)).json()["run"]["status"] == "cancelled"
        assert (await events_of(api, run))[-1] == "run_completed"
    client = await Client.connect(temporal)
    handle = client.get_workflow_handle(workflow_id(pending.rpartition("_")[2], 1))
    told = [event.event_type async for event in handle.fetch_history_events()]
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED in told


async def test_a_workflow_is_deleted_while_temporal_is_away(
    settings: Settings, unused_tcp_port: int
) -> None:
    async with (
        running(settings, f"127.0.0.1:{unused_tcp_port}") as app,
        Door(app, app.state.services.database).client() as api,
    ):
        url, run = await run_of(api, QUIET)
        for _ in range(30):
            assert (await api.post(f"{url}/run")).status_code == 202
        assert (await api.delete(url)).status_code == 200
        assert (await api.get(run)).json()["run"]["status"] == "cancelled"


# --- whose it is -------------------------------------------------------------------------------


async def test_filters_combine(api: httpx2.AsyncClient) -> None:
    made = {}
    for status in ("active", "draft"):
        for trigger in ("manual", "event"):
            for tags in (["a"], ["a", "b"], []):
                answer = await api.post(
                    "/api/workflows",
                    json={
                        "definition": QUIET,
                        "status": status,
                        "trigger_type": trigger,
                        "tags": tags,
                    },
                )
                made[answer.json()["id"]] = (status, trigger, tags)
    for status in ("active", "draft"):
        for trigger in ("manual", "event"):
            for tag in ("a", "b"):
                query = {"status": status, "trigger_type": trigger, "tag": tag}
                page = (await api.get("/api/workflows", params=query)).json()
                wanted = [
                    id_
                    for id_, (has, by, tags) in made.items()
                    if (has, by) == (status, trigger) and tag in tags
                ]
                assert [row["id"] for row in page["workflows"]] == wanted[::-1]
                assert page["total"] == len(wanted)


FOREIGN: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("PUT", "", {"definition": QUIET}),
    ("DELETE", "", None),
    ("PATCH", "/status", {"status": "paused"}),
    ("GET", "/versions", None),
    ("GET", "/versions/1", None),
    ("GET", "/diff?v1=1&v2=1", None),
    ("POST", "/rollback", {"version": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
async def test_foreign_and_unknown_look_the_same(
    api: httpx2.AsyncClient, door: Door, method: str, path: str, body: Any
) -> None:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    url = created.headers["location"]
    async with door.client(await door.key(Role.ADMIN, "others")) as stranger:
        answers = [
            await stranger.request(method, other + path, json=body)
            for other in (
                url,
                url.replace("wf_", ""),
                f"/api/workflows/wf_{'0' * 32}",
                "/api/workflows/wf_%00",
            )
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert (await api.get(url)).headers["etag"] == created.headers["etag"]
