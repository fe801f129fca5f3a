"""Batches: a run with a lane for each entity."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import JsonValue

from engine.batch import LaneStatus
from engine.lifecycle import RunStatus, StepStatus
from store import entities
from store.batches import StepTally
from store.publishing import Verdicts
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.batching import Step, started
from workflows import batch as interpreter

L = LaneStatus


def articles(count: int) -> list[dict[str, JsonValue]]:
    """Records of which one in ten has no title."""
    return [
        {"rank": n} if n % 10 == 9 else {"rank": n, "title": f"Article {n}"} for n in range(count)
    ]


def titled(count: int) -> list[dict[str, JsonValue]]:
    return [{"title": f"Article {n}"} for n in range(count)]


def step(id_: str, type_: str, /, **config: Any) -> Step:
    return {"id": id_, "type": type_, "config": config}


TITLED = step("titled", "validate", rules=[{"field": "title", "rule": "required"}])


def hook(receiver: Receiver, id_: str = "tell", path: str = "/told", **policies: Any) -> Step:
    config = {"url": receiver.url(path), "payload": {"title": "{{ entity.fields.title }}"}}
    return {"id": id_, "type": "webhook", "config": config, **policies}


async def test_one_in_ten_fails(house: House) -> None:
    made = step("made", "transform", output="{{ entity.fields.title + '!' }}")
    batch = await started(house, articles(230), TITLED, made)
    run = await batch.until()
    assert run.status is RunStatus.COMPLETED
    assert run.output == {"total": 230, "completed": 207, "failed": 23}
    assert run.lanes == 230
    row = await batch.row()
    assert row.steps == {"titled": StepTally(207, 23, 0), "made": StepTally(207, 0, 23)}
    for n, lane in enumerate(await batch.lanes()):
        if n % 10 == 9:
            assert (lane.status, lane.step_id, lane.output) == (L.FAILED, "titled", None)
            assert lane.error is not None
            assert lane.error["code"] == "validation_failed"
            assert lane.attempts == 1
        else:
            assert (lane.status, lane.output) == (L.COMPLETED, f"Article {n}!")
            assert (lane.attempts, lane.error, lane.facts) == (2, None, None)
        assert lane.started_at is not None
        assert lane.completed_at is not None
    told = await house.events(batch.run_id)
    progress = [event.data for event in told if event.type == "batch_progress"]
    assert len(progress) >= -(-230 // row.window_size)
    counters = [(data["completed"], data["failed"]) for data in progress]
    assert counters == sorted(counters)
    assert counters[-1] == (207, 23)
    assert sum(len(data["failures"]) for data in progress) == 23
    assert not [event for event in told if event.type.startswith("step_")]


async def test_what_fails_everywhere_has_failed(house: House) -> None:
    batch = await started(house, [{"rank": n} for n in range(3)], TITLED)
    run = await batch.until()
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error["code"] == "all_entities_failed"


async def test_each_entity_is_told_of_once_and_retried(house: House, receiver: Receiver) -> None:
    retry = {"max_attempts": 3, "delay": 0.05}
    flaky = hook(receiver, path="/flaky/4", retry=retry)
    batch = await started(house, titled(9), flaky, concurrency=3)
    run = await batch.until()
    assert run.status is RunStatus.COMPLETED
    keys = receiver.keys("/flaky/4")
    assert sorted(keys) == [f"{batch.run_id}/tell/{lane}/1" for lane in range(9)]
    rows = await batch.lanes()
    assert [lane.attempts for lane in rows] == [
        keys[f"{batch.run_id}/tell/{n}/1"] for n in range(9)
    ]
    assert max(keys.values()) > 1
    assert {lane.status for lane in rows} == {L.COMPLETED}


async def test_no_more_at_once_than_was_asked_for(house: House, receiver: Receiver) -> None:
    batch = await started(house, titled(70), hook(receiver, path="/held"), concurrency=7)
    async with asyncio.timeout(30):
        while receiver.waiting < 7:
            await asyncio.sleep(0.05)
    most = receiver.waiting
    lanes = await batch.lanes()
    assert [lane.status for lane in lanes].count(L.COMPLETED) == 0
    receiver.released.set()
    assert (await batch.until()).status is RunStatus.COMPLETED
    assert most == 7


async def test_a_pause_is_between_steps_and_a_resume_goes_on(
    house: House, receiver: Receiver
) -> None:
    first, second = hook(receiver, "first", "/held/first"), hook(receiver, "second", "/second")
    batch = await started(house, titled(40), first, second, concurrency=4)
    async with asyncio.timeout(30):
        while receiver.waiting < 4:
            await asyncio.sleep(0.05)
    await house.pause(batch.run_id)
    # Whoever sees to the lanes looks for it once a second.
    await asyncio.sleep(1.5)
    receiver.released.set()
    run = await batch.until(RunStatus.PAUSED)
    done = [lane for lane in await batch.lanes() if lane.status is L.COMPLETED]
    assert len(receiver.keys("/held/first")) == 4
    assert len(done) == receiver.count("/second")
    await house.resume(batch.run_id)
    run = await batch.until(RunStatus.COMPLETED)
    assert run.n == 2
    for path in ("/held/first", "/second"):
        keys = receiver.keys(path)
        assert len(keys) == 40
        assert set(keys.values()) == {1}


async def test_a_cancel_ends_what_is_under_way(house: House, receiver: Receiver) -> None:
    batch = await started(house, titled(40), hook(receiver, path="/held"), concurrency=4)
    async with asyncio.timeout(30):
        while receiver.waiting < 4:
            await asyncio.sleep(0.05)
    await house.cancel(batch.run_id)
    run = await batch.until()
    assert run.status is RunStatus.CANCELLED
    row = await batch.row()
    assert (row.completed, row.failed) == (0, 0)
    async with asyncio.timeout(30):
        while receiver.waiting:
            await asyncio.sleep(0.05)
    assert receiver.count("/held") == 4
    receiver.released.set()
    await house.resume(batch.run_id)
    assert (await batch.until(RunStatus.COMPLETED)).output == {
        "total": 40,
        "completed": 40,
        "failed": 0,
    }


@pytest.mark.parametrize("local", [True, False])
async def test_a_cancel_ends_a_step_for_the_whole_batch(
    house: House, receiver: Receiver, local: bool
) -> None:
    config = {"channel": "webhook", "url": receiver.url("/held"), "once": True, "message": "Done."}
    told = {**step("summary", "notify", **config), "local": local}
    batch = await started(house, titled(3), TITLED, told)
    async with asyncio.timeout(30):
        while not receiver.waiting:
            await asyncio.sleep(0.05)
    await house.cancel(batch.run_id)
    assert (await batch.until()).status is RunStatus.CANCELLED
    assert (await batch.row()).completed == 3


async def test_a_budget_of_failures_stops_the_batch(house: House) -> None:
    wrong = [{"rank": n} for n in range(200)]
    batch = await started(house, wrong, TITLED, concurrency=1, max_failures=5)
    run = await batch.until()
    assert run.status is RunStatus.CANCELLED
    assert run.error is not None
    assert run.error["code"] == "error_budget_exceeded"
    assert ((await batch.row()).failed, (await batch.row()).completed) == (5, 0)
    await house.resume(batch.run_id)
    run = await batch.until()
    assert run.status is RunStatus.CANCELLED
    assert (await batch.row()).failed == 10


async def test_a_budget_of_failures_pauses_the_batch(house: House) -> None:
    wrong = [{"rank": n} for n in range(30)]
    batch = await started(house, wrong, TITLED, concurrency=1, max_failures=29, on_budget="pause")
    run = await batch.until(RunStatus.PAUSED)
    assert (await batch.row()).failed == 29
    last = (await house.events(batch.run_id))[-1]
    assert last.type == "run_paused"
    assert last.data["error"]["code"] == "error_budget_exceeded"
    await house.resume(batch.run_id)
    run = await batch.until()
    assert run.status is RunStatus.FAILED


async def test_what_steps_make_of_entities_is_kept_and_told(house: House) -> None:
    changed = step(
        "changed", "transform", transforms=[{"field": "title", "transform": "uppercase"}]
    )
    batch = await started(house, articles(20), TITLED, changed)
    assert (await batch.until()).status is RunStatus.COMPLETED
    for n, entity in enumerate(await batch.entities()):
        assert entity.fields.get("title") == (None if n % 10 == 9 else f"ARTICLE {n}")


async def test_an_entity_that_is_gone_fails(house: House, receiver: Receiver) -> None:
    batch = await started(house, titled(8), hook(receiver, path="/held"), concurrency=1)
    async with asyncio.timeout(30):
        while not receiver.waiting:
            await asyncio.sleep(0.05)
    # The window has been read ahead, so the next execution is the one that sees it.
    await house.cancel(batch.run_id)
    await batch.until(RunStatus.CANCELLED)
    gone = batch.entity_ids[5]
    await house.database.write(
        lambda tx: entities.archive(tx, house.org, gone, Verdicts(), "e" * 32)
    )
    receiver.released.set()
    await house.resume(batch.run_id)
    assert (await batch.until(RunStatus.COMPLETED)).status is RunStatus.COMPLETED
    lane = (await batch.lanes())[5]
    assert lane.status is L.FAILED
    assert lane.error == {"code": "entity_not_found", "message": "The entity was deleted."}
    assert len(receiver.keys("/held")) == 7


async def test_a_step_for_the_whole_batch_comes_last(house: House, receiver: Receiver) -> None:
    url = receiver.url("/summary")
    told = step("summary", "notify", channel="webhook", url=url, once=True, message="{{ batch }}")
    batch = await started(house, articles(20), TITLED, told, hook(receiver))
    run = await batch.until()
    assert run.status is RunStatus.COMPLETED
    assert receiver.count("/told") == 18
    (delivery,) = [one for one in receiver.deliveries if one.path == "/summary"]
    assert json.loads(delivery.body)["message"] == {"total": 20, "completed": 18, "failed": 2}
    assert delivery.key == f"{batch.run_id}/summary/-/1"
    rows = await house.steps(batch.run_id)
    assert {step_id: row.status for step_id, row in rows.items()} == {
        "summary": StepStatus.COMPLETED
    }
    assert set((await batch.row()).steps) == {"titled", "tell"}


async def test_a_skipped_step_ends_the_lane_well(house: House, receiver: Receiver) -> None:
    lenient = step(
        "titled", "validate", rules=[{"field": "title", "rule": "required"}], onFail="skip"
    )
    batch = await started(house, articles(10), lenient, hook(receiver))
    run = await batch.until()
    assert run.output == {"total": 10, "completed": 10, "failed": 0}
    assert receiver.count("/told") == 9
    assert (await batch.row()).steps == {
        "titled": StepTally(9, 0, 1),
        "tell": StepTally(9, 0, 1),
    }


async def test_a_long_batch_begins_its_history_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "LONG", 15)
    batch = await started(house, titled(300), TITLED)
    run = await batch.until()
    assert run.output == {"total": 300, "completed": 300, "failed": 0}

    async def parts() -> int:
        query = f"WorkflowId = '{run.temporal_id}'"
        return len([part async for part in house.client.list_workflows(query)])

    async with asyncio.timeout(60):
        while await parts() < 2:
            await asyncio.sleep(0.1)


async def test_what_an_entity_went_on_after_is_noted(house: House, receiver: Receiver) -> None:
    refused = hook(receiver, "refused", "/status/400/x", on_error="continue")
    gate = step("gate", "condition", field="rank", operator="gte", value=5)
    batch = await started(house, articles(8), refused, gate, hook(receiver))
    assert (await batch.until()).status is RunStatus.COMPLETED
    for n, lane in enumerate(await batch.lanes()):
        failed, *skipped = lane.notes
        assert (failed.step_id, failed.code) == ("refused", "http_status")
        assert [note.step_id for note in skipped] == ([] if n >= 5 else ["gate"])
        assert all(note.code is None and note.message for note in skipped)
    assert receiver.count("/told") == 3
    log = [event.data for event in await house.events(batch.run_id)]
    assert sum(data.get("noted_here", 0) for data in log) == 8


async def test_a_slow_batch_tells_how_far_it_is(house: House, receiver: Receiver) -> None:
    batch = await started(house, titled(16), hook(receiver, path="/slow/1/told"), concurrency=4)
    await batch.until()
    log = await house.events(batch.run_id)
    done = [event.data["completed"] for event in log if event.type == "batch_progress"]
    assert len(done) > 1
    assert done == sorted(done)
    assert done[-1] == 16


async def test_a_last_step_that_fails_is_done_again_by_a_resume(
    house: House, receiver: Receiver
) -> None:
    config = {"url": receiver.url("/flaky/1/summary"), "channel": "webhook", "once": True}
    batch = await started(house, titled(3), hook(receiver), step("summary", "notify", **config))
    run = await batch.until()
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert (run.error["code"], run.error["step"]) == ("http_status", "summary")
    await house.resume(batch.run_id)
    run = await batch.until(RunStatus.COMPLETED)
    assert run.output == {"total": 3, "completed": 3, "failed": 0}
    assert (receiver.count("/told"), receiver.count("/flaky")) == (3, 2)
    assert set(receiver.keys("/flaky")) == {f"{batch.run_id}/summary/-/1"}
