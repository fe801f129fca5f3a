"""A call of somebody else's activity outlives every worker: it is made once, or made again.

Judged by what the other worker wrote down: which activities began, and which came to their end.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.foreign import ForeignWorker, foreign_worker
from tests.integration.site import Site
from tests.workflow.patience import until


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
async def other(site: Site, tmp_path: Path) -> AsyncIterator[ForeignWorker]:
    async with foreign_worker(f"127.0.0.1:{site.temporal_port}", tmp_path) as worker:
        yield worker


async def begin(site: Site, other: ForeignWorker, seconds: float) -> str:
    """Start a run whose only step has the other worker work for that long; its id, once it does."""
    config: dict[str, Any] = {"name": "works", "task_queue": other.queue, "input": seconds}
    step = {"id": "a", "type": "activity", "config": config | {"heartbeat_timeout": 3}}
    workflow = await site.define({"name": "work", "steps": [step]})
    run_id = await site.run(workflow)
    await other.has_noted("begun")
    return run_id


async def page(site: Site, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await site.http.get(f"/api/workflows/runs/{run_id}")).json()["run"]
    return found


async def ended(site: Site, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(90):
        while (found := await page(site, run_id))["status"] in ("pending", "running"):
            await asyncio.sleep(0.1)
    return found


def once(other: ForeignWorker, what: str, run_id: str) -> None:
    run = run_id.removeprefix("run_")
    assert other.noted(what) == {(f"{run}/a/-/1", f"call/{run}/a/-/1/1/1"): 1}


async def test_the_kill_of_our_worker_does_not_disturb_it(site: Site, other: ForeignWorker) -> None:
    run_id = await begin(site, other, 8)
    site.kill("worker")
    site.start("worker")
    run = await ended(site, run_id)
    assert (run["status"], run["output"]) == ("completed", "worked 8 s")
    # The same call: it began once, and nobody stopped it.
    once(other, "begun", run_id)
    once(other, "done", run_id)
    assert run["step_runs"][0]["attempt"] == 1


@pytest.mark.slow
async def test_an_answer_that_came_while_our_worker_was_away_counts(
    site: Site, other: ForeignWorker
) -> None:
    run_id = await begin(site, other, 2)
    site.kill("worker")
    await other.has_noted("done")
    site.start("worker")
    run = await ended(site, run_id)
    assert (run["status"], run["output"]) == ("completed", "worked 2 s")
    once(other, "begun", run_id)


@pytest.mark.slow
async def test_our_worker_may_be_stopped_in_order(site: Site, other: ForeignWorker) -> None:
    run_id = await begin(site, other, 12)
    site.processes["worker"].send_signal(signal.SIGTERM)
    await site.gone("worker")
    assert other.noted("cancelled").total() == other.noted("done").total() == 0
    site.start("worker")
    assert (await ended(site, run_id))["status"] == "completed"
    once(other, "begun", run_id)
    once(other, "done", run_id)


@pytest.mark.slow
async def test_the_kill_of_the_other_worker_makes_it_begin_again(
    site: Site, other: ForeignWorker
) -> None:
    run_id = await begin(site, other, 3)
    await other.kill()
    await other.start()
    run = await ended(site, run_id)
    assert (run["status"], run["output"]) == ("completed", "worked 3 s")
    # In the same call, under the same key, and without using up an attempt of the step.
    run_hex = run_id.removeprefix("run_")
    assert other.noted("begun") == {(f"{run_hex}/a/-/1", f"call/{run_hex}/a/-/1/1/1"): 2}
    once(other, "done", run_id)
    assert run["step_runs"][0]["attempt"] == 1


@pytest.mark.slow
async def test_a_call_that_nobody_waits_for_any_more_is_ended(
    site: Site, other: ForeignWorker
) -> None:
    """The run is cancelled between the loss of our worker and the step's next attempt."""
    run_id = await begin(site, other, 120)
    site.kill("worker")
    # Longer than a heartbeat may be late: the step is not with any worker.
    await asyncio.sleep(7)
    answer = await site.http.post(f"/api/workflows/runs/{run_id}/cancel")
    assert answer.status_code == 200, answer.text
    site.start("worker")
    assert (await ended(site, run_id))["status"] == "cancelled"
    client = await Client.connect(f"127.0.0.1:{site.temporal_port}")
    handle = client.get_workflow_handle(f"call/{run_id.removeprefix('run_')}/a/-/1/1/1")

    async def closed() -> bool:
        return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING

    await until(closed, "the call goes on")
    await other.has_noted("cancelled")
    # It was ended, and not begun anew.
    once(other, "begun", run_id)
    assert other.noted("done").total() == 0
