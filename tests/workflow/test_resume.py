"""Resuming: what is done stays done, what is unknown or failed keeps its key."""

import asyncio
from collections import Counter

import pytest

from engine.errors import Conflict, Invalid
from engine.lifecycle import RunStatus, StepStatus
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until


def key(run_id: str, step_id: str, generation: int) -> str:
    return f"{run_id}/{step_id}/-/{generation}"


async def test_a_failed_run_goes_on_after_its_last_completed_step(
    house: House, receiver: Receiver
) -> None:
    run = await house.finish(
        flow(
            get(receiver, "a"),
            get(receiver, "b", "/flaky/1/b", "a"),
            get(receiver, "c", "", "b"),
            output="{{ steps.c.output.body.path }}",
        )
    )
    assert run.status is RunStatus.FAILED
    await house.resume(run.id)
    again = await house.until(run.id, RunStatus.COMPLETED)
    assert (again.n, again.output, again.error) == (2, "/c", None)
    assert receiver.keys() == Counter(
        {key(run.id, "a", 1): 1, key(run.id, "b", 1): 2, key(run.id, "c", 1): 1}
    )
    types = [str(event.type) for event in await house.events(run.id)]
    assert types.count("run_completed") == 2
    assert types.count("run_resumed") == 1
    assert {row.n for row in (await house.steps(run.id)).values()} == {1, 2}


async def test_resuming_from_any_step_repeats_nothing_upstream(house: House) -> None:
    """A run of ten steps whose last one fails, resumed from each of them in turn."""

    async def resumed_from(first: int) -> None:
        async with Receiver() as receiver:
            steps = chain(receiver, 9)
            steps.append(get(receiver, "s9", "/flaky/1/s9", "s8"))
            run = await house.finish(flow(*steps))
            assert run.status is RunStatus.FAILED
            await house.resume(run.id, f"s{first}")
            assert (await house.until(run.id)).status is RunStatus.COMPLETED
            expected = Counter({key(run.id, f"s{i}", 1): 1 for i in range(9)})
            # The failed one is the same effect as before; the others were complete.
            expected[key(run.id, "s9", 1)] = 2
            expected |= Counter({key(run.id, f"s{i}", 2): 1 for i in range(first, 9)})
            assert receiver.keys() == expected

    await asyncio.gather(*(resumed_from(first) for first in range(10)))


async def test_what_was_re_run_on_purpose_can_be_re_run_again(
    house: House, receiver: Receiver
) -> None:
    run = await house.finish(flow(get(receiver, "a"), get(receiver, "b", "/flaky/2/b", "a")))
    for n in (2, 3):
        assert run.status is RunStatus.FAILED
        await house.resume(run.id, "a")
        run = await house.until(run.id)
        assert run.n == n
    assert run.status is RunStatus.COMPLETED
    assert receiver.keys("/a") == Counter({key(run.id, "a", g): 1 for g in (1, 2, 3)})
    assert receiver.keys("/flaky") == Counter({key(run.id, "b", 1): 3})


async def test_a_loop_that_is_re_run_repeats_its_items_under_new_keys(
    house: House, receiver: Receiver
) -> None:
    body = {"id": "item", "type": "http_request", "config": {"url": receiver.url("/{{ item }}")}}
    run = await house.finish(
        flow(
            step("loop", "each", items=["x", "y"], steps=[body]),
            get(receiver, "last", "/flaky/1/last", "each"),
        )
    )
    assert run.status is RunStatus.FAILED
    await house.resume(run.id, "each")
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    for index, path in enumerate("xy"):
        keys = {f"{run.id}/item/{index}/{generation}": 1 for generation in (1, 2)}
        assert receiver.keys(f"/{path}") == Counter(keys)


async def test_a_failed_loop_goes_on_with_the_items_that_are_not_done(
    house: House, receiver: Receiver
) -> None:
    items = ["/a", "/flaky/1/b", "/c"]
    body = {"id": "item", "type": "http_request", "config": {"url": receiver.url("{{ item }}")}}
    run = await house.finish(flow(step("loop", "each", items=items, steps=[body])))
    assert run.status is RunStatus.FAILED
    await house.resume(run.id)
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    assert receiver.keys() == Counter(
        {f"{run.id}/item/0/1": 1, f"{run.id}/item/1/1": 2, f"{run.id}/item/2/1": 1}
    )


async def test_a_cancelled_run_resumes(house: House, receiver: Receiver) -> None:
    run_id = await house.start(flow(get(receiver, "a"), step("wait", "hold", "a", duration=3_600)))

    async def holds() -> bool:
        return "hold" in await house.steps(run_id)

    await until(holds, "it does not wait")
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED
    await house.resume(run_id)
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED
    assert receiver.keys("/a") == Counter({key(run_id, "a", 1): 1})


async def test_of_two_resumes_at_once_one_is_refused(house: House, receiver: Receiver) -> None:
    run = await house.finish(flow(get(receiver, "a", "/flaky/1/a")))
    results = await asyncio.gather(
        *(house.resume(run.id) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "RunRow"]
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    assert receiver.count("/") == 2


async def test_what_cannot_be_resumed_is_refused(house: House, receiver: Receiver) -> None:
    done = await house.finish(flow(step("transform", "a", output=1)))
    with pytest.raises(Conflict):
        await house.resume(done.id)
    failed = await house.finish(
        flow(get(receiver, "a", "/status/500/a"), get(receiver, "b", "", "a"))
    )
    with pytest.raises(Invalid):
        await house.resume(failed.id, "nowhere")
    with pytest.raises(Conflict, match="no result"):
        await house.resume(failed.id, "b")
    assert (await house.run(failed.id)).n == 1


async def test_a_condition_keeps_its_answer(house: House, receiver: Receiver) -> None:
    run = await house.finish(
        flow(
            step("condition", "ask", expression="true", then=["yes"], **{"else": ["no"]}),
            get(receiver, "yes", "/flaky/1/yes"),
            get(receiver, "no"),
        )
    )
    assert run.status is RunStatus.FAILED
    await house.resume(run.id)
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    rows = await house.steps(run.id)
    assert rows["no"].status is StepStatus.SKIPPED
    assert receiver.count("/no") == 0
    assert receiver.count("/flaky") == 2
