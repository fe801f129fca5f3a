"""Lists of runs with their filters, the items of loops, the attempts of steps, large inputs."""

import asyncio
from typing import Any

import httpx2
import pytest

from engine.roles import Role
from store import runs, workflows
from store.database import Tx
from store.runs import NewRun
from store.tables import runs as rows
from tests.contract.conftest import Door
from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until

LOOP: dict[str, Any] = {
    "name": "Loop",
    "steps": [
        {
            "id": "each",
            "type": "loop",
            "config": {
                "items": "input.rows",
                "on_item_error": "continue",
                "concurrency": 4,
                "steps": [
                    {"id": "third", "type": "transform", "config": {"output": "{{ 12 / item }}"}},
                    {
                        "id": "text",
                        "type": "transform",
                        "config": {"output": "{{ input.text }}"},
                        "depends_on": ["third"],
                    },
                ],
            },
        },
        {"id": "after", "type": "transform", "config": {"output": 1}, "depends_on": ["each"]},
    ],
}


async def started(api: httpx2.AsyncClient, count: int, **body: Any) -> tuple[str, list[str]]:
    created = await api.post("/api/workflows", json={"definition": QUIET})
    workflow = created.json()["id"]
    answers = [await api.post(f"/api/workflows/{workflow}/run", json=body) for _ in range(count)]
    return workflow, [answer.json()["run_id"] for answer in answers]


async def listed(api: httpx2.AsyncClient, path: str, **query: Any) -> list[str]:
    answer = await api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found = [run["id"] for run in answer.json()["runs"]]
    assert answer.json()["total"] >= len(found)
    return found


# --- lists ------------------------------------------------------------------------------------


async def test_runs_of_one_workflow_and_of_all(api: httpx2.AsyncClient) -> None:
    mine, (first, second) = await started(api, 2)
    other, (third,) = await started(api, 1, trigger="nightly")
    everything = "/api/workflows/runs"
    of_mine = f"/api/workflows/{mine}/runs"
    assert await listed(api, everything) == [third, second, first]
    assert await listed(api, of_mine) == [second, first]
    assert await listed(api, everything, workflow_id=mine) == [second, first]
    assert await listed(api, everything, workflow_id=other) == [third]
    assert await listed(api, everything, limit=1, offset=1) == [second]
    for unknown in ("wf_" + "0" * 32, "nonsense", "\0"):
        assert await listed(api, everything, workflow_id=unknown) == []
    assert await listed(api, everything, trigger="nightly") == [third]
    assert await listed(api, of_mine, trigger="nightly") == []
    await api.post(f"/api/workflows/runs/{first}/cancel")
    await api.post(f"/api/workflows/runs/{second}/pause")
    assert await listed(api, everything, status="cancelled") == [first]
    assert await listed(api, of_mine, status=["cancelled", "paused"]) == [second, first]
    assert await listed(api, everything, status=["paused", "pending"]) == [third, second]
    run = (await api.get(everything, params={"status": "cancelled"})).json()["runs"][0]
    assert {"step_runs", "input_data", "output"}.isdisjoint(run)
    assert run["execution"] == 1
    started_by = ("parent_run_id", "parent_step_id", "schedule_id", "scheduled_at")
    assert {run[key] for key in started_by} == {None}


async def test_runs_are_found_by_when_they_were_created(api: httpx2.AsyncClient) -> None:
    workflow, ids = await started(api, 3)
    path = f"/api/workflows/{workflow}/runs"
    times = {run["id"]: run["created_at"] for run in (await api.get(path)).json()["runs"]}
    first, second, third = (times[run_id] for run_id in ids)
    # What was answered finds the run again, at either end.
    assert await listed(api, path, created_after=second) == [ids[2], ids[1]]
    assert await listed(api, path, created_before=second) == [ids[1], ids[0]]
    assert await listed(api, path, created_after=third, created_before=first) == []
    shifted = second.replace("Z", "+00:00")
    assert await listed(api, path, created_after=shifted, created_before=second) == [ids[1]]
    assert await listed(api, path, created_after=second.removesuffix("Z")) == [ids[2], ids[1]]
    for edge in ("9999-12-31T23:59:59.999999-23:59", "2999-01-01"):
        assert await listed(api, path, created_after=edge) == []
    assert len(await listed(api, path, created_after="0001-01-01T00:00:00+23:59")) == 3


@pytest.mark.parametrize(
    "query",
    [
        "status=started",
        "status=pending&status=x",
        "limit=0",
        "limit=201",
        "offset=-1",
        "created_after=yesterday",
        "created_before=",
        "trigger=",
    ],
)
async def test_a_bad_query_is_a_422(api: httpx2.AsyncClient, query: str) -> None:
    for path in ("/api/workflows/runs", f"/api/workflows/wf_{'0' * 32}/runs"):
        answer = await api.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["error"]) == (422, "validation_error")


async def test_who_started_a_run_is_shown(api: httpx2.AsyncClient, door: Door) -> None:
    workflow, (parent,) = await started(api, 1)

    def work(tx: Tx) -> str:
        row = runs.by_id(tx, parent.removeprefix("run_"))
        assert row is not None
        flow = workflows.get(tx, row.org_id, row.workflow_id)
        new = NewRun(row.org_id, flow.id, flow.name, 1, "full_engine", "schedule", {})
        child = runs.accept(tx, new).id
        tx.execute(
            rows.update()
            .where(rows.c.id == child)
            .values(
                parent_run_id=row.id,
                parent_step_id="call",
                schedule_id="a" * 32,
                scheduled_at=1_767_225_600_000_000,
            )
        )
        return child

    child = await door.database.write(work)
    page = (await api.get(f"/api/workflows/{workflow}/runs")).json()["runs"][0]
    whole = (await api.get(f"/api/workflows/runs/run_{child}")).json()["run"]
    for run in (page, whole):
        assert (run["parent_run_id"], run["parent_step_id"]) == (parent, "call")
        assert run["schedule_id"] == "sched_" + "a" * 32
        assert run["scheduled_at"] == "2026-01-01T00:00:00Z"


async def test_an_input_is_shown_or_has_an_address(api: httpx2.AsyncClient) -> None:
    for text, shown in (("x", True), ("x" * 70_000, False)):
        data = {"text": text, "n": [1, 2.5, None]}
        run_id = await create_and_run(api, QUIET, input_data=data)
        page = await api.get(f"/api/workflows/runs/{run_id}")
        run = page.json()["run"]
        url = f"/api/workflows/runs/{run_id}/input"
        assert (run["input_data"], run["input_url"]) == ((data, None) if shown else (None, url))
        assert len(page.content) < 10_000
        assert (await api.get(url)).json() == data


# --- items and attempts -----------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
async def test_the_items_of_a_loop_page_by_page(api: httpx2.AsyncClient) -> None:
    data = {"rows": [1, 2, 0, 4, 0, 6], "text": "x" * 70_000}
    run_id = await create_and_run(api, LOOP, input_data=data)
    run = await until(api, run_id, "completed", "failed")
    loop = run["step_runs"][0]
    assert run["status"] == "completed", run["error"]
    assert loop["iterations"] == {
        "total": 6,
        "pending": 0,
        "running": 0,
        "completed": 4,
        "failed": 2,
        "cancelled": 0,
    }
    assert "iterations" not in run["step_runs"][1]
    url = loop["items_url"]
    assert url == f"/api/workflows/runs/{run_id}/steps/each/items"
    page = (await api.get(url)).json()
    assert page["total"] == 6
    states = [(item["index"], item["iteration"], item["status"]) for item in page["items"]]
    assert states == [
        (index, str(index), "failed" if index in (2, 4) else "completed") for index in range(6)
    ]
    good, bad = page["items"][1], page["items"][2]
    third, text = good["step_runs"]
    assert (third["step_id"], third["status"], third["output"]) == ("third", "completed", 6)
    assert (text["step_id"], text["output"], text["output_size"]) == ("text", None, 70_002)
    assert (await api.get(text["output_url"])).json() == data["text"]
    assert [step["status"] for step in bad["step_runs"]] == ["failed", "skipped"]
    assert bad["step_runs"][0]["error"]["code"]
    part = (await api.get(url, params={"limit": 2, "offset": 3})).json()
    assert (part["items"], part["total"]) == (page["items"][3:5], 6)
    failed = (await api.get(url, params={"status": "failed", "limit": 1, "offset": 1})).json()
    assert ([item["index"] for item in failed["items"]], failed["total"]) == ([4], 2)
    assert (await api.get(url, params={"status": "running"})).json() == {"items": [], "total": 0}
    assert (await api.get(url, params={"iteration": "7"})).json() == {"items": [], "total": 0}
    attempts = f"/api/workflows/runs/{run_id}/steps/third/attempts"
    found = (await api.get(attempts, params={"iteration": "4"})).json()
    assert found["total"] == 1
    (attempt,) = found["attempts"]
    assert (attempt["attempt"], attempt["execution"], attempt["status"]) == (1, 1, "failed")
    assert (attempt["generation"], attempt["worker"]) == (1, "test")
    assert attempt["error"]["code"] == bad["step_runs"][0]["error"]["code"]
    assert attempt["ended_at"].endswith("Z")
    assert (await api.get(attempts)).json() == {"attempts": [], "total": 0}


@pytest.mark.usefixtures("worker")
async def test_an_open_loop_shows_where_its_items_stand(api: httpx2.AsyncClient) -> None:
    body = [
        {"id": "first", "type": "transform", "config": {"output": 1}},
        {
            "id": "day",
            "type": "wait",
            "config": {"duration": "{{ index < 2 ? 0 : 86400 }}"},
            "depends_on": ["first"],
        },
    ]
    config = {"items": [*range(5)], "concurrency": 2, "steps": body}
    loop = {"id": "each", "type": "loop", "config": config}
    run_id = await create_and_run(api, {"name": "Open", "steps": [loop]})
    wanted = {
        "total": 5,
        "pending": 1,
        "running": 2,
        "completed": 2,
        "failed": 0,
        "cancelled": 0,
    }
    async with asyncio.timeout(30):
        while True:
            run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
            if run["step_runs"][0].get("iterations") == wanted:
                break
            await asyncio.sleep(0.05)
    assert run["step_runs"][0]["status"] == "running"
    url = run["step_runs"][0]["items_url"]
    # An item runs from its first step on, and is to have come to its second.
    async with asyncio.timeout(60):
        while True:
            page = (await api.get(url, params={"status": "running"})).json()
            states = [[step["status"] for step in item["step_runs"]] for item in page["items"]]
            if states == [["completed", "running"]] * 2:
                break
            await asyncio.sleep(0.05)
    assert [item["index"] for item in page["items"]] == [2, 3]
    for item in page["items"]:
        assert item["step_runs"][1]["waiting_until"].endswith("Z")
    pending = (await api.get(url, params={"status": "pending"})).json()
    assert [item["index"] for item in pending["items"]] == [4]
    assert [step["status"] for step in pending["items"][0]["step_runs"]] == ["pending"] * 2
    await api.post(f"/api/workflows/runs/{run_id}/cancel")
    run = await until(api, run_id, "cancelled")
    assert run["step_runs"][0]["iterations"] == wanted | {"running": 0, "cancelled": 2}


@pytest.mark.usefixtures("worker")
async def test_attempts_over_retries_and_executions(api: httpx2.AsyncClient) -> None:
    bad = {
        "id": "bad",
        "type": "http_request",
        # Nothing may be reached from here, so every attempt fails in the same way.
        "config": {"url": "http://127.0.0.1:9/"},
        "retry": {"max_attempts": 2, "delay": 0},
    }
    run_id = await create_and_run(api, {"name": "Bad", "steps": [bad]})
    await until(api, run_id, "failed")
    await api.post(f"/api/workflows/runs/{run_id}/resume")
    async with asyncio.timeout(30):
        while (await until(api, run_id, "failed"))["execution"] != 2:
            await asyncio.sleep(0.02)
    url = f"/api/workflows/runs/{run_id}/steps/bad/attempts"
    found = (await api.get(url)).json()
    executions = [attempt["execution"] for attempt in found["attempts"]]
    assert sorted({*executions}) == [1, 2]
    assert executions == sorted(executions)
    assert found["total"] == len(executions)
    assert {attempt["status"] for attempt in found["attempts"]} == {"failed"}
    assert all(attempt["error"]["message"] for attempt in found["attempts"])
    page = (await api.get(url, params={"limit": 1, "offset": 1})).json()
    assert (page["attempts"], page["total"]) == (found["attempts"][1:2], found["total"])


# --- who sees it ------------------------------------------------------------------------------


async def test_what_is_not_there_is_a_404(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, LOOP)
    url = f"/api/workflows/runs/{run_id}/steps"
    assert (await api.get(f"{url}/each/items")).json() == {"items": [], "total": 0}
    assert (await api.get(f"{url}/each/attempts")).json() == {"attempts": [], "total": 0}
    for path in ("after/items", "third/items", "nope/items", "nope/attempts", "%00/attempts"):
        answer = await api.get(f"{url}/{path}")
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), path
    for query in ("iteration=x", "iteration=1.2.3.4.5", "limit=0", "offset=-1"):
        for path in ("each/items", "each/attempts"):
            assert (await api.get(f"{url}/{path}?{query}")).status_code == 422
    assert (await api.get(f"{url}/each/items?status=skipped")).status_code == 422


async def test_foreign_and_unknown_look_the_same(api: httpx2.AsyncClient, door: Door) -> None:
    run_id = await create_and_run(api, PATIENT)
    workflow = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]["workflow_id"]
    unknown = f"run_{'0' * 32}"
    routes = [
        ("GET", ""),
        ("GET", "/input"),
        ("GET", "/output"),
        ("GET", "/stream"),
        ("GET", "/steps/first/output"),
        ("GET", "/steps/first/items"),
        ("GET", "/steps/first/attempts"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/terminate"),
        ("DELETE", ""),
    ]
    async with door.client(await door.key(Role.ADMIN, "elsewhere")) as foreign:
        for method, path in routes:
            answers = [
                await foreign.request(method, f"/api/workflows/runs/{id_}{path}")
                for id_ in (run_id, unknown, "nonsense")
            ]
            assert {answer.status_code for answer in answers} == {404}, path
            assert len({answer.content for answer in answers}) == 1, path
        for method, path in (("GET", "/runs"), ("POST", "/run")):
            foreign_answer = await foreign.request(method, f"/api/workflows/{workflow}{path}")
            absent = await foreign.request(method, f"/api/workflows/wf_{'0' * 32}{path}")
            assert (foreign_answer.status_code, absent.status_code) == (404, 404)
            assert foreign_answer.content == absent.content
        assert await listed(foreign, "/api/workflows/runs") == []
        assert await listed(foreign, "/api/workflows/runs", workflow_id=workflow) == []
    assert (await until(api, run_id, "pending"))["intent"] is None
