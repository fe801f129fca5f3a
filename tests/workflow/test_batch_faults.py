"""Batches when something goes wrong below their lanes: nothing hangs, and no effect is repeated."""

from itertools import count
from typing import Any

import pytest

from activities.clients.buckets import Buckets
from activities.steps import transform
from engine.batch import LaneStatus
from engine.bucket import bucket_of
from engine.errors import Unavailable
from engine.lifecycle import RunStatus
from store import buckets, lanes
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.batching import started
from tests.workflow.patience import until
from tests.workflow.test_batches import hook, step, titled

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
