"""Runs that outgrow their history carry their facts over, and nobody notices."""

from collections import Counter
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowHistory

from engine.lifecycle import RunStatus
from store.runs import RunRow
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import Step, chain, flow, get, step
from tests.workflow.patience import until
from workflows import run as interpreter

#: Bytes of facts that may be carried over. Source: DESIGN §3.4.
MAX_CARRIED = 256 * 1024
#: Events that no part of an execution may pass. Source: DESIGN §3.
MAX_EVENTS = 4_096


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution counts as long after a handful of events."""
    monkeypatch.setattr(interpreter, "LONG", 30)


async def parts(house: House, run: RunRow) -> list[WorkflowHistory]:
    """The histories of an execution, from the first part to the last."""
    found: dict[str, WorkflowHistory] = {}

    async def all_closed() -> bool:
        listed = [e async for e in house.client.list_workflows(f"WorkflowId = '{run.temporal_id}'")]
        for execution in listed:
            handle = house.client.get_workflow_handle(execution.id, run_id=execution.run_id)
            found[execution.run_id] = await handle.fetch_history()
        return any(e.status is WorkflowExecutionStatus.COMPLETED for e in listed)

    await until(all_closed, "its last part has not completed")
    return sorted(found.values(), key=lambda history: history.events[0].event_time.ToNanoseconds())


def carried(history: WorkflowHistory) -> int:
    """Bytes that the part was started with."""
    started = history.events[0].workflow_execution_started_event_attributes
    return sum(len(payload.data) for payload in started.input.payloads)


def scheduled(history: WorkflowHistory) -> int:
    """Ordinary activities that the part asked for and did not see the end of."""
    kinds = Counter(event.event_type for event in history.events)
    ends = (
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
    )
    begun = kinds[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
    return begun - sum(kinds[end] for end in ends)


def everything(receiver: Receiver) -> list[Step]:
    """Steps of every kind; what waits is still waiting when the execution is carried over."""
    inner = {"id": "cell", "type": "http_request", "config": {"url": receiver.url("/{{ item }}")}}
    return [
        *chain(receiver, 12),
        step("wait", "timer", duration=1.5),
        step("wait", "poll", condition="steps.timer.status == 'completed'", poll_interval=0.3),
        get(receiver, "again", "/flaky/2/x", retry={"delay": 0.5}),
        get(receiver, "slow", "/slow/1.7/x"),
        step("condition", "ask", "s3", expression="true", then=["yes"], **{"else": ["no"]}),
        get(receiver, "yes"),
        get(receiver, "no"),
        step(
            "loop",
            "rows",
            items=[*range(4)],
            concurrency=2,
            steps=[
                step("loop", "cells", items="['x', 'y', 'z']", concurrency=2, steps=[inner]),
                step("transform", "size", "cells", output="{{ size(steps.cells.output) + item }}"),
            ],
        ),
        step(
            "transform",
            "all",
            *("timer", "poll", "again", "slow", "yes", "rows", "s11"),
            output="{{ steps.rows.output }}",
        ),
    ]


async def test_a_run_in_parts_ends_as_a_run_in_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    for long in (12, 2_000):
        monkeypatch.setattr(interpreter, "LONG", long)
        async with Receiver() as receiver:
            run = await house.finish(flow(*everything(receiver)))
            assert run.status is RunStatus.COMPLETED, run.error
            histories = await parts(house, run)
            assert len(histories) == 1 if long == 2_000 else len(histories) >= 3
            for history in histories[:-1]:
                assert scheduled(history) == 0
            assert max(carried(history) for history in histories) < 16 * 1024
            rows = await house.steps(run.id)
            keys = receiver.keys()
            seen.append(
                {
                    "output": run.output,
                    "steps": {id_: (str(row.status), row.attempt) for id_, row in rows.items()},
                    "keys": Counter({key.removeprefix(run.id): n for key, n in keys.items()}),
                    "events": sorted(
                        (str(e.type), e.step_id or "", e.iteration)
                        for e in await house.events(run.id)
                        if (e.type, e.step_id) != ("step_waiting", "poll")
                    ),
                }
            )
    assert seen[0] == seen[1]
    assert seen[0]["output"] == [3, 4, 5, 6]
    assert {key: n for key, n in seen[0]["keys"].items() if n > 1} == {"/again/-/1": 3}


@pytest.mark.usefixtures("short")
async def test_a_run_in_parts_is_paused_resumed_and_cancelled(
    house: House, receiver: Receiver
) -> None:
    slow = {"config": {"url": receiver.url("/slow/0.1/{{ run.execution }}")}}
    run_id = await house.start(flow(*(step | slow for step in chain(receiver, 30))))
    await until(lambda: receiver.count("/slow/0.1/1") == 12, "it does not get far")
    await house.pause(run_id)
    assert (await house.until(run_id)).status is RunStatus.PAUSED
    await house.resume(run_id)
    await until(lambda: receiver.count("/slow/0.1/2") == 12, "it does not get far")
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED
    assert set(receiver.keys().values()) == {1}
    assert receiver.count("/") < 30


@pytest.mark.usefixtures("short")
async def test_a_failure_in_a_later_part_fails_the_run(house: House, receiver: Receiver) -> None:
    run = await house.finish(
        flow(*chain(receiver, 20), get(receiver, "bad", "/status/404/x", "s19"))
    )
    assert run.status is RunStatus.FAILED
    assert (run.error or {})["step"] == "bad"
    assert receiver.count("/s") == 21


@pytest.mark.slow
async def test_a_loop_of_a_thousand_items(house: House, receiver: Receiver) -> None:
    body = {"id": "item", "type": "http_request", "config": {"url": receiver.url("/{{ item }}")}}
    run_id = await house.start(
        flow(step("loop", "each", items="range(1000)", concurrency=10, steps=[body]))
    )
    run = await house.until(run_id, patience=110)
    assert run.status is RunStatus.COMPLETED, run.error
    assert len(receiver.keys()) == 1_000
    assert set(receiver.keys().values()) == {1}
    histories = await parts(house, run)
    assert max(len(history.events) for history in histories) <= MAX_EVENTS
    assert max(carried(history) for history in histories) < MAX_CARRIED
