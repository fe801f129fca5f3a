"""What the run page shows of runs that a worker carries out."""

import httpx2
import pytest

from tests.contract.full_engine.definitions import PATIENT, QUIET, create_and_run, until

pytestmark = pytest.mark.usefixtures("worker")


async def test_a_completed_run_shows_every_step(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, QUIET)
    run = await until(api, run_id, "completed", "failed")
    assert run["status"] == "completed", run
    assert run["output"] == 1
    assert run["error"] is None
    assert run["duration_seconds"] >= 0
    first, second = run["step_runs"]
    assert (first["step_id"], first["status"], first["output"]) == ("first", "completed", {"n": 1})
    assert (second["step_id"], second["output"], second["attempt"]) == ("second", 1, 1)
    for time in ("started_at", "completed_at"):
        assert run[time].endswith("Z")
        assert first[time].endswith("Z")
    assert type(first["duration_seconds"]) is int
    raw = await api.get(f"/api/workflows/runs/{run_id}/steps/first/output")
    assert (raw.status_code, raw.content) == (200, b'{"n":1}')
    assert (await api.get(f"/api/workflows/runs/{run_id}/output")).json() == 1
    for verb in ("cancel", "pause", "resume"):
        refused = await api.post(f"/api/workflows/runs/{run_id}/{verb}")
        assert (refused.status_code, refused.json()["error"]) == (409, "conflict"), verb


async def test_a_failed_run_says_why(api: httpx2.AsyncClient) -> None:
    definition = {
        "name": "Fails",
        "steps": [
            {"id": "bad", "type": "transform", "config": {"output": "{{ input.missing.deep }}"}},
            {"id": "after", "type": "transform", "config": {"output": 1}, "depends_on": ["bad"]},
        ],
    }
    run = await until(api, await create_and_run(api, definition), "completed", "failed")
    assert run["status"] == "failed"
    bad, after = run["step_runs"]
    assert bad["status"] == "failed"
    assert bad["error"]["code"]
    assert bad["error"]["message"]
    assert run["error"]["step_id"] == "bad"
    assert after["output"] is None


async def test_large_outputs_have_an_address_and_the_page_stays_small(
    api: httpx2.AsyncClient,
) -> None:
    definition = {
        "name": "Large",
        "steps": [
            {"id": f"s{n}", "type": "transform", "config": {"output": "{{ input.text }}"}}
            for n in range(20)
        ]
        + [
            {
                "id": "all",
                "type": "transform",
                "config": {"output": ["{{ input.text }}", "{{ input.text }}"]},
            }
        ],
    }
    text = "x" * 60_000
    run_id = await create_and_run(api, definition, input_data={"text": text})
    run = await until(api, run_id, "completed", "failed")
    assert run["status"] == "completed", run["error"]
    page = await api.get(f"/api/workflows/runs/{run_id}")
    assert len(page.content) < 1_000_000
    *small, large = run["step_runs"]
    assert small[0]["output"] == text
    assert small[0]["output_url"] is None
    assert small[-1]["output"] is None
    assert large["output"] is None
    assert large["output_size"] > 120_000
    for step in (small[-1], large):
        whole = await api.get(step["output_url"])
        assert len(whole.content) == step["output_size"]
    assert run["output"] is None
    assert (await api.get(run["output_url"])).json() == [text, text]


async def test_a_loop_counts_its_items(api: httpx2.AsyncClient) -> None:
    definition = {
        "name": "Loop",
        "steps": [
            {
                "id": "each",
                "type": "loop",
                "config": {
                    "items": [1, 2, 3],
                    "steps": [
                        {"id": "body", "type": "transform", "config": {"output": "{{ item }}"}}
                    ],
                },
            }
        ],
    }
    run_id = await create_and_run(api, definition)
    run = await until(api, run_id, "completed", "failed")
    (loop,) = run["step_runs"]
    assert loop["status"] == "completed", loop
    assert loop["iterations"] == {
        "total": 3,
        "pending": 0,
        "running": 0,
        "completed": 3,
        "failed": 0,
        "cancelled": 0,
    }
    assert loop["output"] == [1, 2, 3]
    url = f"/api/workflows/runs/{run_id}/steps/body/output"
    assert (await api.get(f"{url}?iteration=2")).json() == 3
    assert (await api.get(url)).status_code == 404


async def test_a_running_run_is_cancelled(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, PATIENT)
    run = await until(api, run_id, "running")
    while "waiting_until" not in run["step_runs"][1]:
        run = await until(api, run_id, "running")
    assert run["step_runs"][1]["status"] == "running"
    assert run["step_runs"][2]["status"] == "pending"
    answer = await api.post(f"/api/workflows/runs/{run_id}/cancel")
    assert answer.status_code == 200
    assert answer.json() == {"run_id": run_id, "status": "cancelled", "intent": None}
    run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
    assert run["step_runs"][0]["status"] == "completed"
    assert run["step_runs"][1]["status"] == "cancelled"


async def test_a_running_run_pauses_and_goes_on(api: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(api, PATIENT)
    await until(api, run_id, "running")
    url = f"/api/workflows/runs/{run_id}"
    answer = await api.post(f"{url}/pause")
    assert answer.status_code in (200, 202)
    await until(api, run_id, "paused")
    assert (await api.post(f"{url}/resume")).status_code == 202
    run = await until(api, run_id, "running")
    while "waiting_until" not in run["step_runs"][1]:
        run = await until(api, run_id, "running")
    assert run["step_runs"][0]["output"] == 1
    assert (await api.post(f"{url}/cancel")).json()["status"] == "cancelled"
