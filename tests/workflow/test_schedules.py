"""Executions that schedules have started, from their first call to the ledger on."""

from datetime import UTC, datetime

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from engine.lifecycle import RunStatus
from engine.schedule import Overlap
from store import runs
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import flow, step
from tests.workflow.patience import until
from tests.workflow.scheduling import (
    opened,
    schedule,
    start_behind_a_resumed_run,
    trigger,
)
from workflows import schedules as waiting


async def test_it_is_a_run_under_the_id_of_temporals(house: House) -> None:
    definition = flow(step("transform", "a", output="{{ input.by }}"))
    schedule_id = await schedule(house, definition, Overlap.SKIP)
    workflow_id, run_id = await trigger(house, schedule_id)
    row = await house.until(await opened(house, run_id))
    assert (row.status, row.output) == (RunStatus.COMPLETED, "schedule")
    assert (row.temporal_id, row.schedule_id, row.n) == (workflow_id, schedule_id, 1)
    assert row.scheduled_at is not None
    nominal = workflow_id.rpartition("/run-")[2]
    assert datetime.fromtimestamp(row.scheduled_at / 1_000_000, UTC) == datetime.fromisoformat(
        nominal
    )
    history = await house.client.get_workflow_handle(workflow_id).fetch_history()
    # What is the user's is not in the history: decision 0004.
    assert '"by"' not in str(history.to_json_dict())


async def test_it_gives_its_place_back_while_it_only_waits(house: House) -> None:
    schedule_id = await schedule(house, flow(step("wait", "hold", duration=600)), Overlap.SKIP)
    _, run_id = await trigger(house, schedule_id)
    await opened(house, run_id)

    async def parked() -> bool:
        return (await house.run(run_id)).parked

    await until(parked, "it keeps its place")
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED


async def test_it_waits_for_a_resumed_run(house: House, receiver: Receiver) -> None:
    await start_behind_a_resumed_run(house, receiver)
    # Twice by the first run, once by the second.
    assert receiver.count("/flaky") == 3


async def test_a_long_wait_begins_its_history_anew_and_stays_the_same_run(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_LOOKS", 1)
    monkeypatch.setattr(waiting, "_SOONEST", 0.1)
    _, second = await start_behind_a_resumed_run(house, receiver)
    history = await house.client.get_workflow_handle(second).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.continued_execution_run_id
    assert started.first_execution_run_id != started.original_execution_run_id


async def test_one_that_is_cancelled_while_it_waits_becomes_no_run(house: House) -> None:
    schedule_id = await schedule(
        house, flow(step("wait", "hold", duration=3_600)), Overlap.BUFFER_ALL
    )
    _, first = await trigger(house, schedule_id)
    await house.until(await opened(house, first), RunStatus.RUNNING)
    await house.cancel(first)
    await house.until(first, RunStatus.CANCELLED)
    row = await house.resume(first)
    await house.until(first, RunStatus.RUNNING)
    workflow_id, second = await trigger(house, schedule_id)
    handle = house.client.get_workflow_handle(workflow_id)

    async def waits() -> bool:
        history = await handle.fetch_history()
        return any(event.HasField("timer_started_event_attributes") for event in history.events)

    await until(waits, "it does not wait")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert await house.database.read(lambda tx: runs.by_id(tx, second)) is None
    assert row.n == 2
    await house.cancel(first)
    await house.until(first, RunStatus.CANCELLED)
