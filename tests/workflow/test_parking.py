"""Runs that only wait hold no place, and start nothing until they have one again."""

from collections.abc import AsyncIterator

import pytest

from engine.book import ADMIT, PlaceCall
from engine.lifecycle import RunStatus, StepStatus
from store import executions, parking
from tests.executions import execution
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until
from tests.workflow.test_long_runs import MAX_EVENTS, parts
from workflows import run as interpreter


@pytest.fixture
async def single(house: House) -> AsyncIterator[House]:
    """A house of one place."""
    async with open_house(house.client, house.database, limit=1) as single:
        yield single


async def told(house: House, run_id: str) -> list[str]:
    events = [str(event.type) for event in await house.events(run_id)]
    return [name for name in events if name.startswith("run_")]


async def parked(house: House, run_id: str) -> None:
    async def gave_it_back() -> bool:
        row = await house.run(run_id)
        assert row.status in (RunStatus.QUEUED, RunStatus.RUNNING)
        return row.parked and not row.admitted

    await until(gave_it_back, "it does not give its place back")


async def test_a_run_that_only_waits_makes_room(single: House, receiver: Receiver) -> None:
    """Also after a pause and a resume; what ends it then frees no place that it does not hold."""
    waiting = await single.start(
        flow(step("wait", "hold", duration=3_600), step("wait", "poll", condition="false"))
    )
    for n in (1, 2):
        await parked(single, waiting)
        run = await single.finish(flow(get(receiver, "a")))
        assert run.status is RunStatus.COMPLETED
        if n == 1:
            await single.pause(waiting)
            assert (await single.until(waiting)).status is RunStatus.PAUSED
            await single.resume(waiting)
    holding = await single.start(flow(get(receiver, "b", "/slow/600/b")))
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    queued = await single.start(flow(get(receiver, "c")))
    await single.cancel(waiting)
    row = await single.until(waiting)
    assert (row.status, row.admitted, row.parked) == (RunStatus.CANCELLED, False, False)
    assert (await single.run(queued)).status is RunStatus.QUEUED
    await single.cancel(holding)
    assert (await single.until(queued)).status is RunStatus.COMPLETED
    assert await told(single, waiting) == [
        *("run_queued", "run_started", "run_parked", "run_paused"),
        *("run_resumed", "run_started", "run_parked", "run_completed"),
    ]


async def test_a_run_that_waits_for_a_moment_keeps_its_place(
    single: House, receiver: Receiver
) -> None:
    run_id = await single.start(
        flow(step("wait", "hold", duration=3), get(receiver, "a", "", "hold"))
    )
    assert (await single.until(run_id)).status is RunStatus.COMPLETED
    assert await told(single, run_id) == ["run_queued", "run_started", "run_completed"]


async def test_a_retry_is_made_when_there_is_a_place_again(
    single: House, receiver: Receiver
) -> None:
    """The place is given behind its back, and whoever tells it again heals it."""
    retry = {"delay": 10, "max_attempts": 2}
    run_id = await single.start(flow(get(receiver, "a", "/flaky/1/a", retry=retry)))
    await parked(single, run_id)
    holding = await single.start(flow(get(receiver, "b", "/slow/600/b")))
    await until(lambda: receiver.count("/slow") == 1, "it does not run")

    async def wants_one() -> bool:
        row = await single.run(run_id)
        return not row.admitted and not row.parked

    await until(wants_one, "the retry does not come due")
    assert (await single.steps(run_id))["a"].status is StepStatus.WAITING
    assert receiver.count("/flaky") == 1
    handed = await single.database.write(
        lambda tx: executions.close_execution(tx, holding, 1, RunStatus.CANCELLED, 1)
    )
    assert handed == [execution(run_id, 1)]
    assert await single.database.read(lambda tx: executions.admitted(tx, 9)) == handed
    for _ in range(2):
        await single.client.get_workflow_handle(handed[0].temporal_id).signal(ADMIT)
    assert (await single.until(run_id)).status is RunStatus.COMPLETED
    assert receiver.count("/flaky") == 2
    assert await told(single, run_id) == [
        *("run_queued", "run_started", "run_parked"),
        *("run_queued", "run_admitted", "run_completed"),
    ]


@pytest.mark.parametrize("held", [False, True])
async def test_no_step_begins_without_a_place_whatever_the_interpreter_thinks(
    single: House, receiver: Receiver, held: bool
) -> None:
    """The answer that says that the place was given back was lost with its worker."""
    run_id = await single.start(flow(get(receiver, "a", "/slow/2/a"), get(receiver, "b", "", "a")))
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    await single.database.write(
        lambda tx: parking.give_back(tx, PlaceCall(run=run_id, n=1, parkings=0), 1)
    )
    if held:
        holding = await single.start(flow(get(receiver, "c", "/slow/600/c")))
        await until(lambda: receiver.count("/slow/600") == 1, "it does not run")

        async def queued() -> bool:
            return (await told(single, run_id))[-1] == "run_queued"

        await until(queued, "it does not ask for its place")
        assert receiver.count("/b") == 0
        await single.cancel(holding)
    assert (await single.until(run_id)).status is RunStatus.COMPLETED
    assert (await told(single, run_id))[-2:] == ["run_admitted", "run_completed"]
    assert receiver.count("/b") == 1


async def test_a_parked_run_is_carried_over(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of children in an execution that is long after a handful of events."""
    monkeypatch.setattr(interpreter, "LONG", 30)
    leaf = await house.define(flow(get(receiver, "a", "/slow/0.2/leaf")))
    child = step("run_workflow", "child", workflow=leaf.name)
    run = await house.finish(
        flow(
            *chain(receiver, 3),
            step("loop", "each", "s2", items=[*range(8)], concurrency=2, steps=[child]),
            get(receiver, "last", "", "each"),
        )
    )
    assert run.status is RunStatus.COMPLETED, run.error
    assert receiver.count("/slow") == 8
    assert set(receiver.keys().values()) == {1}
    histories = await parts(house, run)
    assert len(histories) > 1
    assert max(len(history.events) for history in histories) < MAX_EVENTS
    assert run.parkings > 1
