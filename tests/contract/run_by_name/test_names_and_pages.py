"""What contracts §1.7 answers about names, precedence, pages, steps and paths: A-q7 to A-q18."""

import asyncio
from typing import Any
from urllib.parse import quote

import httpx2
from sqlalchemy import update

from app.surfaces.run_by_name.wire import derived
from engine.roles import Role
from store import clock
from store.tables import runs as rows
from store.tables import workflows
from tests.contract.conftest import ADMIN, Door
from tests.contract.run_by_name.definitions import SWEEP, create, quiet, read, start, until

URL = f"/v1/workflows/{SWEEP}/run"


async def started(api: httpx2.AsyncClient, name: str) -> str:
    """Which workflow a start by this name is of."""
    answer = await api.post(f"/v1/workflows/{quote(name, safe='')}/run")
    assert answer.status_code == 201, (name, answer.text)
    run = await read(api, answer.json()["workflow_run_id"])
    assert answer.json()["workflow_name"] == run["workflow_name"] == name
    return str(run["workflow_definition_id"]).removeprefix("cbwd_")


NAMES = [
    "runs",
    "schedules",
    "run",
    "Ünïcode 🚦",
    "a/b",
    "/",
    "a/run",
    "50% off",
    "a%2Fb",
    "a b",
    "'",
]


async def test_a_q7_any_name_can_be_started(api: httpx2.AsyncClient) -> None:
    for name in NAMES:
        workflow = await create(api, quiet(name))
        assert await started(api, name) == workflow
        listed = await api.get("/v1/workflows/runs", params={"workflow_name": name})
        assert listed.json()["total"] == 1, name


async def test_a_q7_names_match_exactly(api: httpx2.AsyncClient) -> None:
    """Case-sensitive, after percent-decoding; a slash that is sent bare ends the segment."""
    await create(api, quiet())
    await create(api, quiet("a/b"))
    for name in (SWEEP.upper(), f" {SWEEP}", f"{SWEEP} ", SWEEP[:-1], "%00", "n" * 201):
        answer = await api.post(f"/v1/workflows/{name}/run", headers={"idempotency-key": "k"})
        assert answer.status_code == 404
        assert answer.json()["detail"]["code"] == "workflow_not_found"
    answer = await api.post("/v1/workflows/a/b/run")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    workflow = await create(api, quiet("known by its id"))
    for spelling in (workflow, f"wf_{workflow}", f"cbwd_{workflow}"):
        assert (await api.post(f"/v1/workflows/{spelling}/run")).status_code == 404


async def test_a_q7_of_equal_names_one_is_taken(api: httpx2.AsyncClient, door: Door) -> None:
    """Prefer enabled, then the one that was changed last."""
    first, second, third = [await create(api, quiet()) for _ in range(3)]

    async def become(workflow: str, status: str) -> None:
        await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": status})

    assert await started(api, SWEEP) == third
    await api.put(f"/api/workflows/wf_{first}", json={"definition": quiet(description="newer")})
    assert await started(api, SWEEP) == first
    for workflow in (first, third):
        await become(workflow, "paused")
    assert await started(api, SWEEP) == second
    await become(second, "archived")
    assert (await api.post(URL)).status_code == 409
    # The list has the runs of all that have the name.
    listed = await api.get(f"/v1/workflows/runs?workflow_name={SWEEP}")
    assert listed.json()["total"] == 3


async def test_a_q8_only_an_active_workflow_is_enabled(api: httpx2.AsyncClient) -> None:
    workflow = await create(api, quiet())
    for status in ("draft", "paused", "archived"):
        await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": status})
        answer = await api.post(URL)
        assert answer.status_code == 409
        assert answer.json()["detail"]["code"] == "workflow_disabled"
        assert (await api.get(f"/v1/workflows/runs?workflow_name={SWEEP}")).status_code == 200
    await api.delete(f"/api/workflows/wf_{workflow}")
    assert (await api.post(URL)).status_code == 404
    assert (await api.get(f"/v1/workflows/runs?workflow_name={SWEEP}")).status_code == 404


async def test_a_q9_what_is_wrong_is_looked_for_in_this_order(
    api: httpx2.AsyncClient, door: Door
) -> None:
    """401/403, 422 (schema), idempotent replay, 404, 409, create."""
    bad, key = {"input": 1}, {"idempotency-key": "k"}
    nowhere = "/v1/workflows/nowhere/run"
    async with door.client(None) as nobody, door.client("wrong") as stranger:
        assert (await nobody.post(nowhere, json=bad)).status_code == 403
        assert (await stranger.post(nowhere, json=bad)).status_code == 401
    async with door.client(await door.key(Role.VIEWER)) as viewer:
        answer = await viewer.post(nowhere, json=bad)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized role."})
        assert answer.headers["www-authenticate"] == "Bearer"
    assert (await api.post(nowhere, json=bad)).status_code == 422
    assert (await api.post(nowhere)).status_code == 404
    workflow = await create(api, quiet())
    first = await api.post(URL, headers=key)
    await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": "paused"})
    assert (await api.post(URL, json=bad, headers=key)).status_code == 422
    assert (await api.post(URL, headers=key)).content == first.content
    assert (await api.post(URL)).status_code == 409


STEPS: list[dict[str, Any]] = [
    {"id": "later", "type": "transform", "config": {"output": 1}, "depends_on": ["each"]},
    {"id": "choose", "type": "condition", "config": {
        "expression": "true", "then": ["taken"], "else": ["left_out"]}},
    {"id": "taken", "type": "transform", "config": {"output": 1}, "depends_on": ["choose"]},
    {"id": "left_out", "type": "transform", "config": {"output": 1}, "depends_on": ["choose"]},
    {"id": "unmet", "type": "transform", "config": {"output": 1}, "when": "false"},
    {"id": "broken", "type": "transform", "config": {"output": "{{ input.nothing }}"},
     "on_error": "continue", "name": "Breaks"},
    {"id": "each", "type": "loop", "depends_on": ["taken"], "config": {
        "items": [1, 2, 3],
        "steps": [{"id": "inside", "type": "transform", "config": {"output": "{{ item }}"}}]}},
]  # fmt: skip


async def test_a_q10_steps_are_in_the_order_in_which_they_began(
    api: httpx2.AsyncClient, worker: None
) -> None:
    workflow = await create(api, {"name": SWEEP, "steps": STEPS})
    run_id = await start(api)
    run = await until(api, run_id, "completed")
    components = {
        derived("cbwc_", workflow, name): name
        for name in ("later", "choose", "taken", "left_out", "unmet", "broken", "each", "inside")
    }
    names = [components[step["component_id"]] for step in run["steps"]]
    assert sorted(names) == sorted(
        ["later", "choose", "taken", "broken", "each", "inside", "inside", "inside"]
    )
    assert names.index("choose") < names.index("taken") < names.index("each")
    assert names[-1] == "later"
    times = [step["created_at"] for step in run["steps"]]
    assert times == sorted(times)
    assert len({step["step_id"] for step in run["steps"]}) == len(run["steps"])
    assert (await read(api, run_id)) == run
    (summary,) = (await api.get("/v1/workflows/runs")).json()["data"]
    assert summary["step_count"] == len(run["steps"])


async def test_a_q11_pages_never_overlap(api: httpx2.AsyncClient, door: Door) -> None:
    """Newest first; of the same moment, the one that was made later."""
    await create(api, quiet())
    made = [await start(api) for _ in range(7)]
    at = clock.now()
    await door.database.write(lambda tx: tx.execute(update(rows).values(created_at=at)))
    found: list[str] = []
    for offset in range(0, 8, 2):
        answer = await api.get(f"/v1/workflows/runs?limit=2&offset={offset}")
        assert (answer.json()["total"], answer.json()["offset"]) == (7, offset)
        found += [run["workflow_run_id"] for run in answer.json()["data"]]
    assert found == made[::-1]


async def test_a_q12_only_what_has_begun_is_a_step(api: httpx2.AsyncClient, worker: None) -> None:
    """Begun but unfinished has the status null; conditions false is no step."""
    steps = [
        {"id": "unmet", "type": "transform", "config": {"output": 1}, "when": "false"},
        {"id": "day", "type": "wait", "config": {"duration": 86_400}},
        {"id": "last", "type": "transform", "config": {"output": 2}, "depends_on": ["day"]},
    ]
    await create(api, {"name": SWEEP, "steps": steps})
    run_id = await start(api)
    async with asyncio.timeout(60):
        while not (run := await read(api, run_id))["steps"]:
            await asyncio.sleep(0.05)
    (step,) = run["steps"]
    assert (step["component_name"], step["action_type"]) == ("day", "wait")
    assert (step["status"], step["message"]) == (None, None)
    assert (run["status"], run["completed_at"]) == ("started", None)
    await api.post(f"/api/workflows/runs/run_{run_id.removeprefix('cbwr_')}/cancel")
    run = await until(api, run_id, "canceled")
    assert isinstance(run["completed_at"], int)
    (step,) = run["steps"]
    assert (step["status"], step["message"]) == ("skipped", "The step was canceled.")


async def test_a_q13_a_run_ends_by_itself(api: httpx2.AsyncClient, worker: None) -> None:
    """Completed when nothing is in flight; failed if a step failed under the policy `fail`."""
    broken = {"id": "a", "type": "transform", "config": {"output": "{{ input.nothing }}"}}
    await create(api, {"name": "fails", "steps": [broken]})
    await create(api, {"name": "goes on", "steps": [broken | {"on_error": "continue"}]})
    failed = await until(api, await start(api, "fails"), "failed", "completed")
    goes_on = await until(api, await start(api, "goes on"), "failed", "completed")
    assert (failed["status"], goes_on["status"]) == ("failed", "completed")
    for run in (failed, goes_on):
        (step,) = run["steps"]
        assert step["status"] == "failed"
        assert "nothing" in step["message"]


async def test_a_q14_windows_and_limits(api: httpx2.AsyncClient) -> None:
    """422 for a negative offset; an empty page for an empty window; both ends included."""
    await create(api, quiet())
    run = await read(api, await start(api))
    at = run["started_at"]

    async def total(query: str) -> int:
        answer = await api.get(f"/v1/workflows/runs?{query}")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) == answer.json()["total"]
        return int(answer.json()["total"])

    assert await total(f"created_at_after={at}&created_at_before={at}") == 1
    assert await total(f"created_at_after={at + 1}") == 0
    assert await total(f"created_at_before={at - 1}") == 0
    assert await total(f"created_at_after={at + 1}&created_at_before={at - 1}") == 0
    assert await total("status=started&status=failed") == 1
    assert await total("status=completed&status=canceled&status=failed") == 0
    first = (await api.get("/v1/workflows/runs")).json()
    assert (first["limit"], first["offset"]) == (100, 0)
    assert (await api.get("/v1/workflows/runs?limit=500")).status_code == 200
    for query in (
        "offset=-1",
        "limit=0",
        "limit=501",
        "limit=x",
        "status=cancelled",
        "status=",
        "status=started&status=running",
        "created_at_after=2026-01-01",
    ):
        answer = await api.get(f"/v1/workflows/runs?{query}")
        assert answer.status_code == 422, query
        assert answer.json()["detail"][0]["loc"][:2] == ["query", query.partition("=")[0]]


async def test_a_q17_a_wrong_prefix_is_a_404(api: httpx2.AsyncClient) -> None:
    await create(api, quiet())
    digits = (await start(api)).removeprefix("cbwr_")
    unknown = await api.get(f"/v1/workflows/runs/cbwr_{'0' * 32}")
    assert unknown.status_code == 404
    for wrong in (
        digits,
        f"run_{digits}",
        f"cbwd_{digits}",
        f"CBWR_{digits}",
        f"cbwr_{digits.upper()}",
        f"cbwr_{digits}0",
        f"cbwr_{digits}%00",
        "x",
    ):
        answer = await api.get(f"/v1/workflows/runs/{wrong}")
        assert (answer.status_code, answer.content) == (404, unknown.content), wrong


async def test_a_q18_unknown_paths_and_methods(api: httpx2.AsyncClient, door: Door) -> None:
    for path in ("/v1", "/v1/", "/v1/nothing", "/v1/workflows/runs/a/b", "/v1/workflows/a%2Fb"):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path
    for method, path in (("PUT", "/v1/workflows/runs"), ("GET", URL), ("OPTIONS", URL)):
        answer = await api.request(method, path)
        assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
        assert answer.headers["allow"]
    assert (await api.head("/v1/workflows/runs")).status_code == 405
    assert (await api.post(URL, content=b"a", headers={"content-type": "text/plain"})).json()[
        "detail"
    ]["code"] == "unsupported_media_type"
    headers = {"authorization": f"Basic {ADMIN}"}
    async with door.client(None) as nobody:
        answer = await nobody.get("/v1/workflows/runs", headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid or expired API key."})


async def test_a_run_outlives_its_workflow(api: httpx2.AsyncClient, door: Door) -> None:
    """`workflow_name` and `workflow_definition_id` are null when it cannot be resolved."""
    workflow = await create(api, quiet())
    run_id = await start(api)
    await api.put(f"/api/workflows/wf_{workflow}", json={"definition": quiet("renamed")})
    assert (await read(api, run_id))["workflow_name"] == "renamed"
    gone = update(workflows).where(workflows.c.id == workflow).values(deleted_at=1)
    await door.database.write(lambda tx: tx.execute(gone))
    run = await read(api, run_id)
    assert run["workflow_name"] is run["workflow_definition_id"] is None
    (summary,) = (await api.get("/v1/workflows/runs")).json()["data"]
    assert summary["workflow_name"] is summary["workflow_definition_id"] is None
