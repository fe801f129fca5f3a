"""A run that waits for an event goes on when it comes, whatever else happens to it meanwhile."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from engine.book import WAKE
from engine.lifecycle import RunStatus, StepStatus
from store import wakes
from store.clock import now
from store.database import Tx
from store.record_tables import event_waits
from store.runs import RunRow
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.store.posted import publish
from tests.workflow.definitions import flow, get, step
from tests.workflow.patience import until
from tests.workflow.test_long_runs import parts
from worker.build import build
from worker.settings import Settings
from workflows import run as interpreter


class Post:
    """Publishes events of one name, and wakes whom they wake."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.name = f"Answered.{uuid4().hex[:8]}"

    async def publish(self, /, wake: bool = True, **data: Any) -> str:
        work = partial(publish, org=self.house.org, data=data, name=self.name)
        event = await self.house.database.write(work)
        asleep = await self.house.database.read(lambda tx: wakes.unwoken(tx, now() + 1, 1_000))
        for one in asleep if wake else ():
            if one.temporal_id is not None:
                handle = self.house.client.get_workflow_handle(one.temporal_id)
                await handle.signal(WAKE, one.wake)
        await self.house.database.write(lambda tx: wakes.woken(tx, asleep))
        return event

    async def waited_for(self, run_id: str, count: int = 1) -> None:
        """Return when so many steps of the run wait, and the run has given its place back."""

        def look(tx: Tx) -> int:
            mine = event_waits.c.run_id == run_id, event_waits.c.event_id.is_(None)
            return int(tx.execute(select(func.count()).where(*mine)).scalar_one())

        async def waiting() -> bool:
            row = await self.house.run(run_id)
            return row.parked and await self.house.database.read(look) == count

        await until(waiting, "it does not wait")


@pytest.fixture
async def post(house: House) -> Post:
    return Post(house)


def hold(post: Post, step_id: str = "hold", /, *after: str, **config: Any) -> dict[str, Any]:
    return step("wait", step_id, *after, event=post.name, **config)


async def test_it_goes_on_with_the_event(house: House, post: Post, receiver: Receiver) -> None:
    run_id = await house.start(
        flow(
            hold(post, match="event.data.ticket == input.ticket && event.data.n > 1"),
            get(receiver, "after", "", "hold"),
            output="{{ steps.hold.output }}",
        ),
        {"ticket": "T-1"},
    )
    await post.waited_for(run_id)
    for data in ({"ticket": "T-2", "n": 2}, {"ticket": "T-1", "n": 1}, {"ticket": "T-1"}):
        await post.publish(**data)
    assert (await house.run(run_id)).parked
    event = await post.publish(ticket="T-1", n=2)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert isinstance(run.output, dict)
    assert isinstance(run.output.pop("waited_seconds"), int)
    assert run.output == {
        "event": {"id": f"cbevt_{event}", "name": post.name, "data": {"ticket": "T-1", "n": 2}},
        "entity": None,
        "timed_out": False,
    }


async def test_an_answer_that_comes_first_is_not_lost(house: House, post: Post) -> None:
    run_id = await house.start(flow(step("wait", "first", duration=2), hold(post, "hold", "first")))
    await post.publish(n=1)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED
    assert isinstance(run.output, dict)
    assert run.output["event"]["data"] == {"n": 1}


async def test_each_item_of_a_loop_gets_its_own(house: House, post: Post) -> None:
    loop = step("loop", "each", items="input.names", concurrency=20, steps=[])
    loop["config"]["steps"] = [hold(post, match="event.data.name == item")]
    names = [f"n{index}" for index in range(20)]
    run_id = await house.start(flow(loop), {"names": names})
    await post.waited_for(run_id, 20)
    for name in reversed(names):
        await post.publish(name=name)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert isinstance(run.output, list)
    assert [one["event"]["data"]["name"] for one in run.output] == names


async def test_a_time_out_tells_what_could_not_be_compared(house: House, post: Post) -> None:
    run_id = await house.start(flow(hold(post, match="event.data.n == 1", timeout=11)))
    await post.waited_for(run_id)
    await post.publish(n=2)
    await post.publish(m=1)
    run = await house.until(run_id)
    assert run.error is not None
    assert run.error["code"] == "wait_timeout"
    assert run.error["message"].endswith(
        "within 11 s. 'match' could not be evaluated for 1 event of this name: "
        "there is no key `n`, in `event.data.n == 1`"
    )


async def test_what_does_not_come_is_a_failure_or_an_answer(house: House, post: Post) -> None:
    run = await house.finish(flow(hold(post, timeout=0.3)))
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error["code"] == "wait_timeout"
    run = await house.finish(flow(hold(post, timeout=0.3, on_timeout="continue")))
    assert run.status is RunStatus.COMPLETED
    assert isinstance(run.output, dict)
    assert isinstance(run.output.pop("waited_seconds"), int)
    assert run.output == {"event": None, "entity": None, "timed_out": True}


async def test_a_pause_misses_nothing(house: House, post: Post) -> None:
    run_id = await house.start(flow(hold(post)))
    await post.waited_for(run_id)
    await house.pause(run_id)
    assert (await house.until(run_id)).status is RunStatus.PAUSED
    await post.publish(wake=False, n=1)
    await house.resume(run_id)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED
    assert isinstance(run.output, dict)
    assert run.output["event"]["data"] == {"n": 1}


async def test_a_run_that_failed_meanwhile_finds_it_when_it_is_resumed(
    house: House, post: Post, receiver: Receiver
) -> None:
    failing = get(receiver, "bad", "/flaky/1/bad")
    run_id = await house.start(flow(hold(post), failing))
    assert (await house.until(run_id)).status is RunStatus.FAILED
    await post.publish(wake=False, n=1)
    await house.resume(run_id)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    rows = await house.steps(run_id)
    assert isinstance(rows["hold"].output, dict)
    assert rows["hold"].output["event"]["data"] == {"n": 1}


async def test_a_wait_that_is_done_again_waits_for_another(
    house: House, post: Post, receiver: Receiver
) -> None:
    bad = get(receiver, "bad", "/flaky/1/bad", "hold")
    run_id = await house.start(flow(hold(post), bad, output="{{ steps.hold.output.event.data }}"))
    await post.waited_for(run_id)
    await post.publish(n=1)
    assert (await house.until(run_id)).status is RunStatus.FAILED
    await house.resume(run_id, "hold")
    await post.waited_for(run_id)
    await post.publish(n=2)
    assert (await house.until(run_id)).output == {"n": 2}


async def test_what_one_worker_leaves_another_finishes(house: House) -> None:
    elsewhere = replace(house, queue=f"{house.queue}-waits")
    post = Post(elsewhere)
    settings = Settings.model_validate(
        {"SIGNALBOX_TASK_QUEUE": elsewhere.queue, "WORKFLOW_MAX_CONCURRENT_RUNS": 1_000}
    )
    workers = (
        build(house.client, house.database, settings, worker_id=f"waits-{n}") for n in range(2)
    )
    async with next(workers) as first, first.worker:
        run_id = await elsewhere.start(flow(hold(post)))
        await post.waited_for(run_id)
    await post.publish(n=1)
    async with next(workers) as second, second.worker:
        run = await elsewhere.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error


@pytest.fixture
async def forgetful(house: House) -> AsyncIterator[House]:
    """A house that keeps no run in its memory."""
    async with open_house(house.client, house.database, cached=0) as forgetful:
        yield forgetful


async def test_it_survives_replays_and_continuations(
    forgetful: House, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    monkeypatch.setattr(interpreter, "LONG", 30)
    post = Post(forgetful)
    loop = step("loop", "each", items="input.names", concurrency=3, steps=[])
    loop["config"]["steps"] = [
        hold(post, match="event.data.name == item"),
        get(receiver, "after", "", "hold"),
    ]
    run_id = await forgetful.start(flow(loop), {"names": [str(index) for index in range(9)]})
    for start in range(0, 9, 3):
        await post.waited_for(run_id, 3)
        for index in range(start, start + 3):
            await post.publish(name=str(index))
    run = await forgetful.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert receiver.count("/after") == 9
    assert len(await parts(forgetful, run)) > 1


async def test_cancelling_ends_the_wait(house: House, post: Post) -> None:
    run_id = await house.start(flow(hold(post)))
    await post.waited_for(run_id)
    await house.cancel(run_id)
    row: RunRow = await house.until(run_id)
    assert row.status is RunStatus.CANCELLED
    assert (await house.steps(run_id))["hold"].status is StepStatus.CANCELLED
    await post.publish(n=1)
