"""Cancelling a run, wherever it stands: nothing starts afterwards, nothing is left behind."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.testing import WorkflowEnvironment

from activities import perform
from activities.flights import Flight
from activities.ledger import Ledger
from activities.perform import Performer
from engine.lifecycle import RunStatus, StepStatus
from store.database import Database
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until


async def is_cancelled(house: House, run_id: str) -> None:
    """The row, the events and Temporal agree on the end, and they agree once."""
    row = await house.until(run_id)
    assert row.status is RunStatus.CANCELLED
    assert row.intent is None
    assert row.admitted is False
    types = [str(event.type) for event in await house.events(run_id)]
    assert types.count("run_completed") == 1
    assert types[-1] == "run_completed"
    handle = house.client.get_workflow_handle(row.temporal_id)

    async def closed() -> bool:
        return (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING

    await until(closed, "Temporal still runs it")
    # A step may have seen the intent before Temporal's cancel came: then the execution just ends.
    ends = (WorkflowExecutionStatus.CANCELED, WorkflowExecutionStatus.COMPLETED)
    assert (await handle.describe()).status in ends
    assert len(await house.events(run_id)) == len(types)


@pytest.mark.parametrize("local", [True, False])
async def test_cancel_stops_a_request(house: House, receiver: Receiver, local: bool) -> None:
    run_id = await house.start(
        flow(get(receiver, "slow", "/slow/600/x", local=local), get(receiver, "after", "", "slow"))
    )
    await until(lambda: receiver.count("/slow") == 1, "no request")
    await house.cancel(run_id)
    await is_cancelled(house, run_id)
    rows = await house.steps(run_id)
    assert rows["slow"].status is StepStatus.CANCELLED
    assert "after" not in rows
    assert receiver.count("/") == 1
    assert receiver.answered == 0


async def test_cancel_while_the_ledger_is_busy(
    server: WorkflowEnvironment,
    sqlite: Database,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run is open, and its execution has not heard of that; so it is after a lost task, too."""
    opened, answered = asyncio.Event(), asyncio.Event()
    write = Ledger._write

    async def slow(ledger: Ledger, *args: Any) -> Any:
        done = await write(ledger, *args)
        if not opened.is_set():
            opened.set()
            await answered.wait()
        return done

    monkeypatch.setattr(Ledger, "_write", slow)
    async with open_house(server.client, sqlite) as house:
        run_id = await house.start(flow(get(receiver, "a")))
        await asyncio.wait_for(opened.wait(), 60)
        await house.cancel(run_id)
        await is_cancelled(house, run_id)
        assert receiver.count("/") == 0
        answered.set()


async def test_cancel_that_crosses_a_hand_over(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told to stop says that it takes long: nothing goes on in its stead."""

    async def takes_long(performer: Performer, flight: Flight) -> None:
        raise perform._quiet("The step takes long.", "MoveToOrdinary")

    monkeypatch.setattr(perform, "HAND_OVER", 600)
    monkeypatch.setattr(Performer, "_let_go", takes_long)
    run_id = await house.start(
        flow(get(receiver, "slow", "/slow/600/x"), get(receiver, "after", "", "slow"))
    )
    await until(lambda: receiver.count("/slow") == 1, "no request")
    await house.cancel(run_id)
    await is_cancelled(house, run_id)
    assert (await house.steps(run_id))["slow"].status is StepStatus.CANCELLED
    # As the worker's process does every two seconds.
    await house.performer.drop_orphans()
    await until(lambda: receiver.waiting == 0, "the request goes on")
    assert receiver.answered == 0


async def test_cancel_kills_a_script(house: House, tmp_path: Path) -> None:
    marker = tmp_path.name
    source = f"bash -c 'exec -a {marker} sleep 300'"
    script = step("script", "run", language="shell", source=source)
    run_id = await house.start(flow(script, step("transform", "after", "run", output=1)))
    await until(lambda: bool(processes(marker)), "the script does not run")
    await house.cancel(run_id)
    await is_cancelled(house, run_id)
    await until(lambda: not processes(marker), "the script still runs")
    rows = await house.steps(run_id)
    assert rows["run"].status is StepStatus.CANCELLED
    assert "after" not in rows


def processes(marker: str) -> list[str]:
    """The processes with this text in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker in path.read_bytes().decode(errors="replace").split("\0")[:1]:
                found.append(path.parent.name)
        except OSError:
            continue
    return found


async def test_cancel_ends_waits(house: House, receiver: Receiver) -> None:
    run_id = await house.start(
        flow(
            step("wait", "timer", duration=3_600),
            step("wait", "poll", condition="false", poll_interval=0.2),
            get(receiver, "again", "/flaky/9/x", retry={"delay": 3_600, "max_delay": 3_600}),
            get(receiver, "after", "", "timer"),
        )
    )

    async def waiting() -> bool:
        rows = await house.steps(run_id)
        states = [rows[id_].status for id_ in ("timer", "poll", "again") if id_ in rows]
        return states == [StepStatus.WAITING] * 3

    await until(waiting, "not all of them wait")
    await house.cancel(run_id)
    await is_cancelled(house, run_id)
    rows = await house.steps(run_id)
    assert {row.status for row in rows.values()} == {StepStatus.CANCELLED}
    assert receiver.count("/after") == 0


async def test_cancel_inside_a_loop(house: House, receiver: Receiver) -> None:
    body = {"id": "item", "type": "http_request", "config": {"url": receiver.url("/slow/600/x")}}
    run_id = await house.start(
        flow(step("loop", "each", items=[*range(20)], concurrency=4, steps=[body]))
    )
    await until(lambda: receiver.count("/slow") == 4, "no requests")
    await house.cancel(run_id)
    await is_cancelled(house, run_id)
    assert receiver.count("/") == 4


async def test_cancel_between_steps(house: House, receiver: Receiver) -> None:
    """Whenever it comes, no step starts after the run has ended."""
    run_ids = [await house.start(flow(*chain(receiver, 12))) for _ in range(6)]
    for number, run_id in enumerate(run_ids):
        await until(partial(_moved_on, receiver, 4 * number), "nothing happens")
        row = await house.run(run_id)
        if row.status is not RunStatus.COMPLETED:
            await house.cancel(run_id)
    for run_id in run_ids:
        row = await house.until(run_id)
        if row.status is RunStatus.CANCELLED:
            await is_cancelled(house, run_id)
    seen = receiver.count("/")
    await asyncio.sleep(0.5)
    assert receiver.count("/") == seen


def _moved_on(receiver: Receiver, past: int) -> bool:
    return receiver.count("/") > past


async def test_cancel_of_a_queued_run_is_at_once(house: House, receiver: Receiver) -> None:
    async with open_house(house.client, house.database, limit=1) as narrow:
        first = await narrow.start(flow(get(receiver, "slow", "/slow/600/x")))
        await until(lambda: receiver.count("/slow") == 1, "no request")
        second = await narrow.start(flow(get(receiver, "never")))
        row = await narrow.cancel(second)
        assert row.status is RunStatus.CANCELLED
        await narrow.cancel(first)
        await is_cancelled(narrow, first)
        types = [str(event.type) for event in await narrow.events(second)]
        assert types == ["run_queued", "run_completed"]
        assert receiver.count("/never") == 0


async def test_cancel_of_what_is_over_changes_nothing(house: House) -> None:
    run = await house.finish(flow(step("transform", "a", output=1)))
    handle = house.client.get_workflow_handle(run.temporal_id)
    await handle.cancel()
    assert (await house.run(run.id)).status is RunStatus.COMPLETED
