"""The same runs under a worker that forgives nothing.

Without a cache every workflow task replays the whole history, so whatever the interpreter decides
by anything but its history fails at once; in the sandbox a clock, randomness or I/O would.
"""

import asyncio
import json
from typing import Any

import pytest
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from engine.lifecycle import RunStatus
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.batching import started
from tests.workflow.definitions import flow, get, step
from tests.workflow.test_cases import CASES

PLAYED = [
    "order/diamond",
    "order/condition_true",
    "failures/a_wait_is_given_up",
    "retries/fixed",
    "loops/nested",
    "waits/condition_of_a_step_beside_it",
]


async def played(house: House, case: dict[str, Any]) -> None:
    """Play a case; it ends as it says."""
    async with Receiver() as receiver:
        text = json.dumps({"name": case["name"], **case["definition"]})
        definition = json.loads(text.replace("$URL", receiver.url("")))
        run = await house.finish(definition, case.get("input"))
        assert run.status == case.get("status", "completed"), run.error
        rows = await house.steps(run.id)
        expected = {id_: status for id_, status in case.get("steps", {}).items() if status}
        assert {id_: str(rows[id_].status) for id_ in expected} == expected
        found = {path: receiver.count(path) for path in case.get("deliveries", {})}
        assert found == case.get("deliveries", {})


@pytest.mark.parametrize(
    ("cached", "runner"), [(0, None), (1_000, SandboxedWorkflowRunner())], ids=["uncached", "boxed"]
)
async def test_cases_end_as_they_say(
    house: House, cached: int, runner: WorkflowRunner | None
) -> None:
    async with open_house(house.client, house.database, cached=cached, runner=runner) as strict:
        # One by one: without a cache, a run is driven out by the next one while its local activity
        # is in flight, and its task is only repeated after its time-out.
        for name in PLAYED:
            await played(strict, CASES[name])


@pytest.mark.parametrize(
    ("cached", "runner"), [(0, None), (1_000, SandboxedWorkflowRunner())], ids=["uncached", "boxed"]
)
async def test_parents_and_children_in_one_place(
    house: House, receiver: Receiver, cached: int, runner: WorkflowRunner | None
) -> None:
    """Places given back and asked for, and waits that are woken, each decided by a replay."""
    async with open_house(
        house.client, house.database, cached=cached, runner=runner, limit=1
    ) as strict:
        leaf = await strict.define(flow(get(receiver, "a", "/slow/0.2/leaf")))
        child = step("run_workflow", "one", workflow=leaf.name)
        loop = step("loop", "each", items=[1, 2], concurrency=2, steps=[child])
        run_ids = [await strict.start(flow(loop, get(receiver, "b", "", "each"))) for _ in range(2)]
        for run_id in run_ids:
            run = await strict.until(run_id)
            assert run.status is RunStatus.COMPLETED, run.error
        assert (receiver.count("/slow"), receiver.count("/b")) == (4, 2)


async def test_control_without_a_cache(house: House, receiver: Receiver) -> None:
    """Pause, resume and cancel, each of them decided by a replay."""
    async with open_house(house.client, house.database, cached=0) as strict:
        run_id = await strict.start(
            flow(
                get(receiver, "a", "/slow/2/a"),
                step("wait", "hold", "a", duration=3_600),
                get(receiver, "b", "", "hold"),
            )
        )
        while receiver.count("/slow") == 0:
            await asyncio.sleep(0.02)
        await strict.pause(run_id)
        assert (await strict.until(run_id)).status is RunStatus.PAUSED
        await strict.resume(run_id)
        await strict.until(run_id, RunStatus.RUNNING)
        await strict.cancel(run_id)
        assert (await strict.until(run_id)).status is RunStatus.CANCELLED
        assert receiver.count("/") == 1


@pytest.mark.parametrize(
    ("cached", "runner"), [(0, None), (1_000, SandboxedWorkflowRunner())], ids=["uncached", "boxed"]
)
async def test_a_batch(
    house: House, receiver: Receiver, cached: int, runner: WorkflowRunner | None
) -> None:
    told = {"id": "told", "type": "webhook", "config": {"url": receiver.url("/told")}}
    notice = {
        "id": "notice",
        "type": "notify",
        "config": {"channel": "webhook", "url": receiver.url("/flaky/1/notice"), "once": True},
        "retry": {"delay": 0.1},
    }
    async with open_house(house.client, house.database, cached=cached, runner=runner) as strict:
        batch = await started(strict, [{"title": str(n)} for n in range(90)], told, notice)
        assert (await batch.until()).status is RunStatus.COMPLETED
    assert (receiver.count("/told"), receiver.count("/flaky")) == (90, 2)
