"""Places: an organisation runs so many at a time, the oldest first, and none is forgotten."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from activities.definitions import Definitions
from activities.ledger import Ledger
from activities.registry import catalog
from activities.scopes import Scopes
from engine.book import ADMIT, RunEnd
from engine.lifecycle import RunStatus
from store import executions
from tests.executions import execution
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import flow, get, step
from tests.workflow.patience import until
from workflows.contract import workflow_id


@pytest.fixture
async def narrow(house: House) -> AsyncIterator[House]:
    """A house of two places."""
    async with open_house(house.client, house.database, limit=2) as narrow:
        yield narrow


async def test_no_more_run_than_there_are_places_and_in_order(
    narrow: House, receiver: Receiver
) -> None:
    run_ids = [await narrow.start(flow(get(receiver, "a", f"/slow/0.4/{i}"))) for i in range(6)]
    most = 0
    while True:
        rows = [await narrow.run(run_id) for run_id in run_ids]
        most = max(most, sum(row.status is RunStatus.RUNNING for row in rows))
        if all(row.status is RunStatus.COMPLETED for row in rows):
            break
        assert not any(row.status is RunStatus.FAILED for row in rows)
        await asyncio.sleep(0.02)
    assert most == 2
    # Runs that there is room for at the same time may begin in either order.
    began = [row.id for row in sorted(rows, key=lambda row: row.started_at or 0)]
    assert all(abs(began.index(run_id) - run_ids.index(run_id)) < 2 for run_id in run_ids)


async def test_a_run_that_ends_badly_hands_its_place_on(narrow: House, receiver: Receiver) -> None:
    failing = [await narrow.start(flow(get(receiver, "a", "/status/500/a"))) for _ in range(2)]
    pausing = [
        await narrow.start(flow(get(receiver, "a", "/status/500/a", on_error="pause")))
        for _ in range(2)
    ]
    held = [await narrow.start(flow(step("wait", "hold", duration=3_600))) for _ in range(2)]
    for run_id in held:
        await narrow.until(run_id, RunStatus.RUNNING)
        await narrow.cancel(run_id)
    last = await narrow.start(flow(get(receiver, "last")))
    assert (await narrow.until(last)).status is RunStatus.COMPLETED
    assert {(await narrow.run(run_id)).status for run_id in failing} == {RunStatus.FAILED}
    assert {(await narrow.run(run_id)).status for run_id in pausing} == {RunStatus.PAUSED}


async def test_a_signal_that_was_lost_is_repeated(narrow: House, receiver: Receiver) -> None:
    """The place is in the row: whoever sends the signal again heals the run."""
    holding = [await narrow.start(flow(get(receiver, "a", "/slow/600/a"))) for _ in range(2)]
    await until(lambda: receiver.count("/slow") == 2, "they do not run")
    waiting = await narrow.start(flow(get(receiver, "b")))
    await narrow.asked(waiting)
    assert (await narrow.run(waiting)).status is RunStatus.QUEUED
    # The place is given, and nobody tells.
    handed = await narrow.database.write(
        lambda tx: executions.close_execution(tx, holding[0], 1, RunStatus.CANCELLED, 2)
    )
    assert handed == [execution(waiting, 1)]
    assert await narrow.database.read(lambda tx: executions.admitted(tx, 10)) == [
        execution(waiting, 1)
    ]
    await asyncio.sleep(0.3)
    assert (await narrow.run(waiting)).status is RunStatus.QUEUED
    for _ in range(2):
        await narrow.client.get_workflow_handle(workflow_id(waiting, 1)).signal(ADMIT)
    assert (await narrow.until(waiting)).status is RunStatus.COMPLETED
    assert receiver.count("/b") == 1
    await narrow.forget(holding[0])
    await narrow.cancel(holding[1])
    await narrow.until(holding[1])


async def test_a_signal_too_many_gives_no_place(narrow: House, receiver: Receiver) -> None:
    holding = [await narrow.start(flow(get(receiver, "a", "/slow/600/a"))) for _ in range(2)]
    await until(lambda: receiver.count("/slow") == 2, "they do not run")
    waiting = await narrow.start(flow(get(receiver, "b")))
    handle = narrow.client.get_workflow_handle(workflow_id(waiting, 1))
    for _ in range(3):
        await handle.signal(ADMIT)
    await asyncio.sleep(0.3)
    assert (await narrow.run(waiting)).status is RunStatus.QUEUED
    for run_id in holding:
        await narrow.cancel(run_id)
    assert (await narrow.until(waiting)).status is RunStatus.COMPLETED


async def test_who_gets_a_place_is_told_although_nobody_waits_for_the_answer(
    narrow: House, receiver: Receiver
) -> None:
    """A local activity is cancelled when its run leaves the cache, and has written by then."""
    holding = [await narrow.start(flow(get(receiver, "a", "/slow/600/a"))) for _ in range(2)]
    await until(lambda: receiver.count("/slow") == 2, "they do not run")
    waiting = await narrow.start(flow(get(receiver, "b")))
    await narrow.asked(waiting)
    ledger = Ledger(
        narrow.database,
        Definitions(narrow.database, catalog()),
        Scopes(narrow.database),
        catalog(),
        narrow.client,
        limit=2,
    )
    end = RunEnd(run=holding[0], n=1, entries=[], status=RunStatus.CANCELLED)
    closing = asyncio.create_task(ledger.close_run(end))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert (await narrow.until(waiting)).status is RunStatus.COMPLETED
    await narrow.forget(holding[0])
    await narrow.cancel(holding[1])
    await narrow.until(holding[1])
