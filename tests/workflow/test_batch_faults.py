"""Batches when something goes wrong below their lanes: nothing hangs, and no effect is repeated."""

import asyncio
from itertools import count
from typing import Any

import pytest

from activities.clients.buckets import Buckets
from activities.clients.models import Models
from activities.lane import Stop
from activities.steps import transform
from engine.batch import LaneStatus
from engine.bucket import bucket_of
from engine.errors import Unavailable
from engine.lifecycle import RunStatus
from store import buckets, entities, lanes
from store.ids import new_id
from store.publishing import publishing
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.steps.http_door_peer import Peer
from tests.workflow.batching import Step, started
from tests.workflow.patience import until
from tests.workflow.test_batches import hook, step, titled
from tests.workflow.test_secrets import VALUE, absent, everything
from tests.workflow.test_secrets import peer as peer

L = LaneStatus


async def test_what_cannot_be_written_is_done_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, refused = lanes.commit, list[Any]()

    def once(*args: Any) -> Any:
        if not refused:
            refused.append(args)
            raise RuntimeError("a row that the database does not take")
        return commit(*args)

    monkeypatch.setattr(lanes, "commit", once)
    batch = await started(house, titled(3), step("made", "transform", output="{{ 1 }}"))
    assert (await batch.until()).output == {"total": 3, "completed": 3, "failed": 0}
    assert refused


async def test_a_window_that_is_over_is_told_of_when_the_database_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, window, calls = lanes.tell, lanes.window, list[str]()

    def later(*args: Any, **more: Any) -> None:
        calls.append("tell")
        if calls.count("tell") == 1:
            raise Unavailable
        tell(*args, **more)

    def counted(*args: Any) -> Any:
        calls.append("window")
        return window(*args)

    monkeypatch.setattr(lanes, "tell", later)
    monkeypatch.setattr(lanes, "window", counted)
    batch = await started(house, titled(3), step("made", "transform", output="{{ 1 }}"))
    await batch.until()
    assert calls == ["window", "tell", "tell"]


async def test_what_is_no_json_fails_its_lane_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"Article 0": float("nan"), "Article 1": "one"}
    monkeypatch.setattr(transform, "slugify", lambda text, **_: made[text])
    rewritten = step("made", "transform", transforms=[{"field": "title", "transform": "slugify"}])
    batch = await started(house, titled(2), rewritten)
    assert (await batch.until()).output == {"total": 2, "completed": 1, "failed": 1}
    lane = (await batch.lanes())[0]
    assert (lane.status, lane.step_id, lane.attempts) == (L.FAILED, "made", 1)
    assert lane.error is not None
    assert lane.error["code"] == "output_invalid"


async def test_a_step_that_misses_the_database_disturbs_no_other_lane(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = bucket_of("webhook", {"url": receiver.url("/bucket")}, "config")
    await house.database.write(lambda tx: buckets.create(tx, house.org, "lost site", site))
    find, missed, calls = Buckets.find, list[str](), count()

    async def away(self: Buckets, org_id: str, named: str) -> Any:
        if next(calls) == 1:
            await until(lambda: receiver.waiting > 0, "nobody waits")
            missed.append(named)
            raise Unavailable
        return await find(self, org_id, named)

    monkeypatch.setattr(Buckets, "find", away)
    show = step("show", "publish", bucketId="lost site")
    batch = await started(house, titled(2), show, hook(receiver, path="/held"), concurrency=2)
    await until(lambda: receiver.waiting == 2, "the other lane does not go on")
    receiver.released.set()
    assert (await batch.until()).status is RunStatus.COMPLETED
    assert missed == ["lost site"]
    for path in ("/bucket", "/held"):
        assert set(receiver.keys(path).values()) == {1}
    assert [lane.attempts for lane in await batch.lanes()] == [2, 2]


def spied(asked: list[str]) -> Any:
    ask = Stop.ask

    def spy(self: Stop, reason: str) -> None:
        asked.append(reason)
        ask(self, reason)

    return spy


async def test_a_worker_that_leaves_begins_nothing_more(
    house: House,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Stop, "ask", spied(asked))

    async def release() -> None:
        await until(lambda: "leaving" in asked, "nobody has noticed that the worker leaves")
        receiver.released.set()

    async with open_house(house.client, house.database) as leaving:
        told = hook(receiver, path="/held")
        batch = await started(leaving, titled(12), told, concurrency=2)
        await until(lambda: receiver.waiting == 2, "nothing has begun")
        releasing = asyncio.create_task(release())
    await releasing
    assert receiver.count("/held") == 2
    assert (await batch.row()).completed == 2
    await house.forget(batch.run_id)


async def test_what_a_lane_was_told_is_not_recorded(house: House, peer: Peer) -> None:
    """A service that answers with what it was sent, and one whose name is a secret."""
    await house.secret("TOKEN", VALUE)
    await house.secret("HOST", "Nowhere-Of-A-Lane.invalid")
    sent = {"url": f"{peer.url}/200", "payload": "{{ secrets.TOKEN }}"}
    told: Step = {"id": "told", "type": "webhook", "config": sent}
    lost = step("lost", "webhook", url="http://{{ secrets.HOST }}/")
    batch = await started(house, titled(2), told, lost)
    await batch.until()
    assert len(peer.requests) == 2
    lane = (await batch.lanes())[0]
    assert lane.step_id == "lost"
    assert lane.error is not None
    assert "[secret HOST]" in str(lane.error["message"])
    found = await everything(house, batch.run_id)
    absent(VALUE, found)
    assert "nowhere-of-a-lane" not in found.lower()


async def test_a_field_that_stays_as_it_was_is_left_to_others(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def same(*_: Any) -> dict[str, Any]:
        return {"title": "Article 0", "note": "new"}

    monkeypatch.setattr(Models, "ask", same)
    write = step("write", "ai_generate", fields=["title", "note"])
    fields: Any = [
        {"name": name.title(), "type": "text", "slug": name} for name in ("title", "note")
    ]
    told = hook(receiver, path="/held")
    batch = await started(house, titled(1), told, write, fields=fields)
    await until(lambda: receiver.waiting == 1, "nothing has begun")
    (entity_id,), event_id = batch.entity_ids, new_id()
    await publishing(
        house.database,
        lambda tx, verdicts: entities.change(
            tx, house.org, entity_id, {"title": "Mine"}, verdicts, event_id
        ),
    )
    receiver.released.set()
    assert (await batch.until()).status is RunStatus.COMPLETED
    (entity,) = await batch.entities()
    assert entity.fields == {"title": "Mine", "note": "new"}
