"""Terminating a run: it is over at once, and what it was doing is not left behind."""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import WorkflowExecutionStatus

from engine.lifecycle import RunStatus, StepStatus
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until
from tests.workflow.test_cancel import processes


async def is_terminated(house: House, run_id: str) -> None:
    row = await house.until(run_id)
    assert (row.status, row.intent, row.admitted) == (RunStatus.CANCELLED, None, False)
    log = await house.events(run_id)
    handle = house.client.get_workflow_handle(row.temporal_id)
    assert (await handle.describe()).status is WorkflowExecutionStatus.TERMINATED
    # Nobody who comes late adds anything.
    await asyncio.sleep(2)
    assert await house.events(run_id) == log
    assert await house.run(run_id) == row


@pytest.mark.parametrize("local", [True, False])
async def test_a_request_in_flight_ends(house: House, receiver: Receiver, local: bool) -> None:
    slow = get(receiver, "slow", "/slow/600/x", local=local)
    run_id = await house.start(flow(slow, get(receiver, "after", "", "slow")))

    async def begun() -> bool:
        return "slow" in await house.steps(run_id) and receiver.waiting == 1

    await until(begun, "no request")
    await house.terminate(run_id)
    assert (await house.steps(run_id))["slow"].status is StepStatus.CANCELLED
    await is_terminated(house, run_id)

    async def ended() -> bool:
        # As the worker's process does every two seconds.
        await house.performer.drop_orphans()
        return receiver.waiting == 0

    await until(ended, "the request goes on")
    assert receiver.answered == 0
    assert receiver.count("/") == 1


async def test_a_script_ends_with_its_process(house: House, tmp_path: Path) -> None:
    marker = tmp_path.name
    source = f"bash -c 'exec -a {marker} sleep 300'"
    script = step("script", "run", language="shell", source=source)
    run_id = await house.start(flow(script, step("transform", "after", "run", output=1)))
    await until(lambda: bool(processes(marker)), "the script does not run")
    await house.terminate(run_id)
    await until(lambda: not processes(marker), "the script still runs")
    await is_terminated(house, run_id)


async def test_between_steps_and_in_waits(house: House, receiver: Receiver) -> None:
    busy = [await house.start(flow(*chain(receiver, 12))) for _ in range(4)]
    asleep = await house.start(flow(step("wait", "timer", duration=3_600)))

    async def waits() -> bool:
        return "timer" in await house.steps(asleep)

    await until(waits, "it does not wait")
    for run_id in (*busy, asleep):
        if (await house.run(run_id)).status is not RunStatus.COMPLETED:
            await house.terminate(run_id)
    seen = receiver.count("/")
    await is_terminated(house, asleep)
    await asyncio.sleep(0.5)
    # One that was on its way may still have arrived, of each run.
    assert receiver.count("/") <= seen + len(busy)
    for run_id in busy:
        await house.until(run_id)


async def test_the_place_of_a_terminated_run_is_handed_on(house: House, receiver: Receiver) -> None:
    async with open_house(house.client, house.database, limit=1) as narrow:
        first = await narrow.start(flow(get(receiver, "slow", "/slow/600/x")))
        await until(lambda: receiver.count("/slow") == 1, "no request")
        second = await narrow.start(flow(get(receiver, "next")))
        await narrow.asked(second)
        await narrow.terminate(first, limit=1)
        row = await narrow.run(second)
        assert row.admitted
        # Whoever terminates it tells the next one.
        await narrow.client.get_workflow_handle(row.temporal_id).signal("admit")
        assert (await narrow.until(second)).status is RunStatus.COMPLETED
        assert receiver.count("/next") == 1
