"""`activity`: a second worker process, with activities that Signalbox has never heard of."""

import asyncio
import base64
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from engine.book import execution_id
from engine.lifecycle import RunStatus, StepStatus
from tests.foreign import ForeignWorker, foreign_worker
from tests.house import House
from tests.workflow.definitions import Step, flow, step
from tests.workflow.patience import until


@pytest.fixture(scope="module")
async def other(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ForeignWorker]:
    address = house.client.service_client.config.target_host
    async with foreign_worker(address, tmp_path_factory.mktemp("foreign")) as worker:
        yield worker


def call(other: ForeignWorker, name: str, /, *after: str, **more: Any) -> Step:
    """A step `a` that calls an activity; `input` and the time-outs are of its config."""
    keys = ("input", "heartbeat_timeout", "schedule_to_start_timeout", "task_queue")
    config = {key: more.pop(key) for key in keys if key in more}
    found = step("activity", "a", *after, **{"name": name, "task_queue": other.queue, **config})
    return {**found, **more}


async def error_of(house: House, definition: dict[str, Any]) -> dict[str, Any]:
    """The error of the step `a` of a run that has to fail."""
    run_id = await house.start(definition)
    assert (await house.until(run_id)).status is RunStatus.FAILED
    error = (await house.steps(run_id))["a"].error
    assert error is not None
    return error


async def open_calls(house: House, run_id: str) -> list[str]:
    """The calls of a run that Temporal still carries out."""
    running = WorkflowExecutionStatus.RUNNING
    found = house.client.list_workflows("WorkflowType = 'call_activity'")
    return [
        one.id async for one in found if one.status is running and one.id.split("/")[1] == run_id
    ]


async def history_of(house: House, workflow_id: str) -> str:
    handle = house.client.get_workflow_handle(workflow_id)
    text = (await handle.fetch_history()).to_json()
    return text + "".join(
        base64.b64decode(found).decode("utf-8", "replace") for found in _data(json.loads(text))
    )


def _data(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["data"]] if isinstance(value.get("data"), str) else []
        return own + [data for inner in value.values() for data in _data(inner)]
    return [data for inner in value for data in _data(inner)] if isinstance(value, list) else []


async def test_its_answer_is_the_output(house: House, other: ForeignWorker) -> None:
    given = {"name": "{{ input.name }}", "list": [1, 2.5, None, True, {"ü": []}]}
    run_id = await house.start(
        flow(
            call(other, "Greet.v1", input=given),
            step("transform", "b", "a", output="{{ steps.a.output.greeting }}"),
        ),
        {"name": "Zoe-of-nowhere"},
    )
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    steps = await house.steps(run_id)
    assert steps["a"].output == {
        "greeting": "Hello Zoe-of-nowhere!",
        "given": given | {"name": "Zoe-of-nowhere"},
    }
    assert steps["b"].output == "Hello Zoe-of-nowhere!"
    # The run's own history holds nothing of it, the call's holds both.
    assert "nowhere" not in await history_of(house, execution_id(run_id, 1))
    assert "Hello Zoe-of-nowhere!" in await history_of(house, f"call/{run_id}/a/-/1/1/1")
    assert await open_calls(house, run_id) == []


async def test_its_id_is_the_stable_key(house: House, other: ForeignWorker) -> None:
    run_id = await house.start(flow(call(other, "nothing")))
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert (await house.steps(run_id))["a"].output is None
    assert (f"{run_id}/a/-/1", f"call/{run_id}/a/-/1/1/1") in other.noted("nothing")


async def test_a_reported_failure_is_retried_as_the_step_says(
    house: House, other: ForeignWorker
) -> None:
    retry = {"max_attempts": 3, "delay": 0}
    run_id = await house.start(flow(call(other, "flaky", input=2, retry=retry)))
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    row = (await house.steps(run_id))["a"]
    assert (row.output, row.attempt) == (3, 3)
    calls = [found for found in other.noted("flaky") if found[0].startswith(run_id)]
    # Another call for each attempt, under the same key.
    assert sorted(calls) == [
        (f"{run_id}/a/-/1", f"call/{run_id}/a/-/1/1/{attempt}") for attempt in (1, 2, 3)
    ]


async def test_without_retry_it_fails_at_once(house: House, other: ForeignWorker) -> None:
    run_id = await house.start(flow(call(other, "flaky", input=1)))
    assert (await house.until(run_id)).status is RunStatus.FAILED
    row = (await house.steps(run_id))["a"]
    assert row.error == {"code": "try_later", "message": "not yet"}
    # A resume is another execution, and another call.
    await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert (await house.steps(run_id))["a"].output == 2


@pytest.mark.parametrize(
    ("kind", "code"), [("CardDeclined", "card_declined"), ("no such card!", "activity_failed")]
)
async def test_what_is_not_to_be_retried_is_not(
    house: House, other: ForeignWorker, kind: str, code: str
) -> None:
    before = other.noted("refuses").total()
    retry = {"max_attempts": 5, "delay": 0}
    error = await error_of(house, flow(call(other, "refuses", input=kind, retry=retry)))
    assert error["code"] == code
    assert error["message"].startswith("no: xxx")
    assert len(error["message"]) == 2_000
    assert other.noted("refuses").total() == before + 1


@pytest.mark.parametrize(
    ("name", "more", "code", "told"),
    [
        ("breaks", {}, "key_error", "a defect"),
        ("never heard of", {}, "not_found_error", "not registered"),
        ("binary", {}, "output_invalid", "binary/plain"),
        ("large", {"input": 3 << 20}, "output_too_large", "reference"),
        ("measure", {"input": "x" * ((3 << 19) - 1)}, "input_too_large", "1,572,865 bytes"),
    ],
)
async def test_other_failures_are_named(
    house: House, other: ForeignWorker, name: str, more: dict[str, Any], code: str, told: str
) -> None:
    error = await error_of(house, flow(call(other, name, **more)))
    assert error["code"] == code
    assert told in error["message"]


async def test_the_largest_input_and_a_large_answer(house: House, other: ForeignWorker) -> None:
    run_id = await house.start(flow(call(other, "measure", input="x" * ((3 << 19) - 2))))
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert (await house.steps(run_id))["a"].output == (3 << 19) - 2
    run = await house.finish(flow(call(other, "large", input=(2 << 20) - 64)))
    assert run.status is RunStatus.COMPLETED


async def test_nobody_who_takes_it_is_an_error(house: House, other: ForeignWorker) -> None:
    definition = flow(
        call(other, "x", task_queue="nobody-polls-this", schedule_to_start_timeout=0.5)
    )
    error = await error_of(house, definition)
    assert error["code"] == "activity_not_started"
    assert "No worker took activity 'x' on task queue 'nobody-polls-this'" in error["message"]
    short = call(other, "x", task_queue="nobody-polls-this", timeout=5)
    assert (await error_of(house, flow(short)))["code"] == "activity_not_started"


@pytest.mark.parametrize("queue", ["", "/_sys/{}/1", "temporal-sys-per-ns-tq"])
async def test_our_own_task_queue_is_refused(
    house: House, other: ForeignWorker, queue: str
) -> None:
    queue = queue.format(house.queue) or house.queue
    own = call(other, "close_run", task_queue=queue, input={"run": "x", "n": 1})
    error = await error_of(house, flow(own))
    assert error["code"] == "task_queue_refused"


async def test_cancel_reaches_it(house: House, other: ForeignWorker) -> None:
    working = call(other, "works", input=60, heartbeat_timeout=5)
    run_id = await house.start(flow(working))
    await until(lambda: any(run_id in key for key, _ in other.noted("begun")), "not begun")
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED
    assert (await house.steps(run_id))["a"].status is StepStatus.CANCELLED
    assert await open_calls(house, run_id) == []
    await until(lambda: any(run_id in key for key, _ in other.noted("cancelled")), "not told")


async def test_the_step_s_time_reaches_it(house: House, other: ForeignWorker) -> None:
    working = call(other, "works", input=60, heartbeat_timeout=5, timeout=8)
    run_id = await house.start(flow(working))
    assert (await house.until(run_id)).status is RunStatus.FAILED
    row = (await house.steps(run_id))["a"]
    assert row.error == {"code": "timeout", "message": "Step 'a' took over 8 s."}
    assert await open_calls(house, run_id) == []
    await until(lambda: any(run_id in key for key, _ in other.noted("cancelled")), "not told")


async def test_the_documented_worker_does_what_the_page_says(house: House) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/your-own-activities.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (text,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert "127.0.0.1:7233" in program
    address = house.client.service_client.config.target_host
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program.replace("127.0.0.1:7233", address)
    )
    try:
        charge = json.loads(text)
        run_id = await house.start(flow(charge), {"order_id": "o1", "amount": 5})
        assert (await house.until(run_id)).status is RunStatus.COMPLETED
        output = (await house.steps(run_id))["charge"].output
        assert output == {"receipt": f"{run_id}/charge/-/1"}
        run_id = await house.start(flow(charge), {"order_id": "o1", "amount": 0})
        assert (await house.until(run_id)).status is RunStatus.FAILED
        row = (await house.steps(run_id))["charge"]
        assert row.error == {"code": "bad_amount", "message": "nothing to charge"}
        assert row.attempt == 1
    finally:
        worker.kill()
        await worker.wait()
