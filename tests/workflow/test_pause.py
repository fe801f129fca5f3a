"""Pausing between steps, going on from there, and waits that do not notice."""

import contextlib

from engine.errors import Conflict
from engine.lifecycle import RunStatus, StepStatus
from store import executions
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until


async def test_a_pause_lets_the_step_finish_and_starts_no_other(
    house: House, receiver: Receiver
) -> None:
    run_id = await house.start(flow(get(receiver, "a", "/held/a"), get(receiver, "b", "", "a")))
    await until(lambda: receiver.count("/held") == 1, "no request")
    await house.pause(run_id)
    receiver.released.set()
    row = await house.until(run_id)
    assert (row.status, row.intent, row.admitted) == (RunStatus.PAUSED, None, False)
    rows = await house.steps(run_id)
    assert rows["a"].status is StepStatus.COMPLETED
    assert "b" not in rows
    await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert set(receiver.keys().values()) == {1}
    types = [str(event.type) for event in await house.events(run_id)]
    assert [t for t in types if t.startswith("run_")] == [
        "run_queued",
        "run_started",
        "run_paused",
        "run_resumed",
        "run_started",
        "run_completed",
    ]


async def test_a_retry_and_a_loop_are_paused_before_they_go_on(
    house: House, receiver: Receiver
) -> None:
    """The pause is in the row alone: each step asks before it begins."""
    body = {"id": "item", "type": "http_request", "config": {"url": receiver.url("/slow/0.2/x")}}
    run_id = await house.start(
        flow(
            step("loop", "each", items=[*range(10)], concurrency=2, steps=[body]),
            get(receiver, "again", "/flaky/1/y", retry={"delay": 0.6}),
        )
    )
    await until(lambda: receiver.count("/slow") >= 2, "nothing happens")
    await house.database.write(lambda tx: executions.pause(tx, house.org, run_id))
    assert (await house.until(run_id)).status is RunStatus.PAUSED
    assert receiver.count("/slow") < 10
    await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert list(receiver.keys("/slow").values()) == [1] * 10
    assert list(receiver.keys("/flaky").values()) == [2]


async def test_a_run_that_is_paused_again_and_again_repeats_nothing(
    house: House, receiver: Receiver
) -> None:
    steps = [step | {"config": {"url": receiver.url("/slow/0.2/x")}} for step in chain(receiver, 8)]
    run_id = await house.start(flow(*steps))
    for _ in range(4):
        await until(lambda: receiver.count("/") > 0, "nothing happens")
        with contextlib.suppress(Conflict):
            await house.pause(run_id)
        row = await house.until(run_id)
        if row.status is RunStatus.COMPLETED:
            break
        assert row.status is RunStatus.PAUSED
        await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert len(receiver.keys()) == 8
    assert set(receiver.keys().values()) == {1}


async def test_a_wait_keeps_its_time_across_a_pause(house: House, receiver: Receiver) -> None:
    run_id = await house.start(
        flow(
            step("wait", "hold", duration=3),
            step("wait", "poll", condition="steps.other.status == 'completed'", poll_interval=0.3),
            get(receiver, "other", "/slow/1.8/other"),
            get(receiver, "after", "", "hold", "poll"),
        )
    )

    async def waiting() -> bool:
        rows = await house.steps(run_id)
        return {"hold", "poll"} <= {
            id_ for id_, row in rows.items() if row.status is StepStatus.WAITING
        } and receiver.count("/slow") == 1

    await until(waiting, "it does not wait")
    before = await house.steps(run_id)
    await house.pause(run_id)
    row = await house.until(run_id)
    assert row.status is RunStatus.PAUSED, row.error
    paused = await house.steps(run_id)
    assert paused["hold"].status is StepStatus.WAITING
    assert paused["poll"].status is StepStatus.WAITING
    assert paused["hold"].wake_at == before["hold"].wake_at
    await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    rows = await house.steps(run_id)
    wake_at, completed_at = before["hold"].wake_at, rows["hold"].completed_at
    assert wake_at is not None
    assert completed_at is not None
    assert completed_at >= wake_at
    assert rows["hold"].started_at == before["hold"].started_at
    assert rows["poll"].started_at == before["poll"].started_at
    assert set(receiver.keys().values()) == {1}


async def test_a_wait_that_was_over_during_the_pause_is_over(house: House) -> None:
    run_id = await house.start(flow(step("wait", "hold", duration=1.5)))

    async def waiting() -> bool:
        rows = await house.steps(run_id)
        return "hold" in rows and rows["hold"].status is StepStatus.WAITING

    await until(waiting, "it does not wait")
    await house.pause(run_id)
    assert (await house.until(run_id)).status is RunStatus.PAUSED
    wake_at = (await house.steps(run_id))["hold"].wake_at or 0
    row = await house.resume(run_id)
    assert (await house.until(run_id)).status is RunStatus.COMPLETED
    assert row.n == 2
    assert ((await house.steps(run_id))["hold"].completed_at or 0) >= wake_at


async def test_a_step_may_wait_for_an_operator(house: House, receiver: Receiver) -> None:
    run = await house.finish(
        flow(
            get(receiver, "a"),
            get(receiver, "b", "/flaky/1/b", "a", on_error="pause"),
            get(receiver, "c", "", "b"),
        )
    )
    assert run.status is RunStatus.PAUSED
    rows = await house.steps(run.id)
    assert rows["b"].status is StepStatus.FAILED
    assert "c" not in rows
    await house.resume(run.id)
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    assert sorted(receiver.keys().values()) == [1, 1, 2]


async def test_a_paused_run_can_be_cancelled(house: House, receiver: Receiver) -> None:
    run = await house.finish(flow(get(receiver, "a", "/status/500/a", on_error="pause")))
    assert run.status is RunStatus.PAUSED
    assert (await house.cancel(run.id)).status is RunStatus.CANCELLED
    types = [str(event.type) for event in await house.events(run.id)]
    assert types.count("run_completed") == 1
