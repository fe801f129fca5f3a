"""Runs that start runs: what the one's end means for the other, and no place held meanwhile."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.steps import run_workflow
from engine.lifecycle import TERMINAL, RunStatus, StepStatus
from store import executions, runs
from store.database import Tx
from store.runs import RunRow, Wanted
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import Step, flow, get, step
from tests.workflow.patience import until


def call(name: str, step_id: str = "call", /, *after: str, **config: Any) -> Step:
    """A step that runs a workflow of that name."""
    return step("run_workflow", step_id, *after, workflow=name, **config)


async def child_of(house: House, run_id: str, step_id: str = "call") -> RunRow:
    """The run that the step has started, once it has."""
    found: list[RunRow] = []

    async def started() -> bool:
        def look(tx: Tx) -> list[RunRow]:
            page, _ = runs.page(tx, house.org, Wanted(), limit=200, offset=0)
            return [
                runs.get(tx, house.org, row.id)
                for row in page
                if (row.parent_run_id, row.parent_step_id) == (run_id, step_id)
            ]

        found[:] = await house.database.read(look)
        return bool(found)

    await until(started, "no run was started")
    assert len(found) == 1
    return found[0]


async def told(house: House, run_id: str, prefix: str = "run_") -> list[str]:
    events = [str(event.type) for event in await house.events(run_id)]
    return [name for name in events if name.startswith(prefix)]


async def test_a_step_has_the_output_of_the_run_that_it_started(house: House) -> None:
    inner = await house.define(
        flow(step("transform", "twice", output="{{ input.n * 2 }}"), output="{{ input }}")
    )
    outer = flow(
        call(inner.name, input={"n": "{{ input.n }}"}),
        step("transform", "seen", "call", output="{{ steps.call.output.n + 1 }}"),
    )
    run = await house.finish(outer, {"n": 3})
    assert (run.status, run.output) == (RunStatus.COMPLETED, 4), run.error
    child = await child_of(house, run.id)
    assert (child.trigger, child.depth, child.awaited) == ("workflow", 1, True)
    assert (child.workflow_id, child.version, child.input) == (inner.id, 1, {"n": 3})
    waited = [e for e in await house.events(run.id) if e.type == "step_waiting"]
    assert [event.data for event in waited] == [{"child_run_id": f"run_{child.id}"}]


async def test_a_step_that_does_not_wait_answers_at_once(house: House, receiver: Receiver) -> None:
    inner = await house.define(flow(get(receiver, "a", "/slow/600/a")))
    run = await house.finish(flow(call(f"wf_{inner.id}", wait=False)))
    child = await child_of(house, run.id)
    assert (run.status, run.output) == (RunStatus.COMPLETED, {"run_id": f"run_{child.id}"})
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    assert (await house.run(child.id)).status is RunStatus.RUNNING
    assert child.awaited is False
    await house.cancel(child.id)
    await house.until(child.id)


async def test_a_large_output_comes_up(house: House) -> None:
    inner = await house.define(flow(step("transform", "a", output="x" * 100_000)))
    run = await house.finish(
        flow(
            call(inner.name),
            step("transform", "size", "call", output="{{ size(steps.call.output) }}"),
        )
    )
    assert run.output == 100_000, run.error


async def test_cancel_reaches_what_is_waited_for_and_nothing_else(
    house: House, receiver: Receiver
) -> None:
    slow = await house.define(flow(get(receiver, "a", "/slow/600/{{ run.id }}")))
    middle = await house.define(flow(call(slow.name)))
    outer = flow(call(middle.name), call(slow.name, "beside"), call(slow.name, "off", wait=False))
    run_id = await house.start(outer)
    child = await child_of(house, run_id)
    grandchild = await child_of(house, child.id)
    beside, detached = await child_of(house, run_id, "beside"), await child_of(house, run_id, "off")
    await until(lambda: receiver.count("/slow") == 3, "they do not run")
    await house.cancel(run_id)
    for ended in (run_id, child.id, grandchild.id, beside.id):
        row = await house.until(ended)
        assert (row.status, row.intent, row.admitted) == (RunStatus.CANCELLED, None, False)
        assert (await told(house, ended)).count("run_completed") == 1
    assert (await house.run(detached.id)).status is RunStatus.RUNNING
    assert receiver.answered == 0
    await house.cancel(detached.id)
    await house.until(detached.id)


async def test_a_run_that_fails_cancels_what_it_waits_for(house: House, receiver: Receiver) -> None:
    slow = await house.define(flow(get(receiver, "a", "/slow/600/a")))
    run_id = await house.start(
        flow(
            call(slow.name),
            get(receiver, "b", "/slow/1.2/b"),
            get(receiver, "bad", "/status/404/x", "b"),
        )
    )
    child = await child_of(house, run_id)
    await until(lambda: receiver.count("/slow/600") == 1, "it does not run")
    assert (await house.until(run_id)).status is RunStatus.FAILED
    assert (await house.until(child.id)).status is RunStatus.CANCELLED


async def test_a_retry_resumes_the_run_that_failed(house: House, receiver: Receiver) -> None:
    inner = await house.define(flow(get(receiver, "a"), get(receiver, "b", "/flaky/1/b", "a")))
    run = await house.finish(flow(call(inner.name) | {"retry": {"delay": 0.2}}))
    assert run.status is RunStatus.COMPLETED, run.error
    child = await child_of(house, run.id)
    assert child.n == 2
    assert (await house.steps(run.id))["call"].attempt == 2
    assert receiver.keys() == {f"{child.id}/a/-/1": 1, f"{child.id}/b/-/1": 2}


async def test_a_resume_resumes_the_run_that_failed(house: House, receiver: Receiver) -> None:
    inner = await house.define(flow(get(receiver, "a"), get(receiver, "b", "/flaky/1/b", "a")))
    run = await house.finish(flow(call(inner.name)))
    child = await child_of(house, run.id)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error["code"] == "child_failed"
    assert f"run_{child.id}" in str(run.error["message"])
    assert "503" in str(run.error["message"])
    await house.resume(run.id)
    assert (await house.until(run.id)).status is RunStatus.COMPLETED
    assert (await house.run(child.id)).n == 2
    assert receiver.count("/a") == 1


async def test_what_was_cancelled_with_its_parent_is_resumed_with_it(
    house: House, receiver: Receiver
) -> None:
    inner = await house.define(flow(get(receiver, "a"), get(receiver, "b", "/slow/2/b", "a")))
    run_id = await house.start(flow(call(inner.name)))
    child = await child_of(house, run_id)
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    await house.cancel(run_id)
    await house.until(run_id)
    await house.resume(run_id)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert (await house.run(child.id)).n == 2
    assert receiver.count("/a") == 1


async def test_a_run_that_is_cancelled_by_itself_fails_the_step(
    house: House, receiver: Receiver
) -> None:
    inner = await house.define(flow(get(receiver, "a", "/slow/600/a")))
    run_id = await house.start(flow(call(inner.name) | {"retry": {"delay": 0.1}}))
    child = await child_of(house, run_id)
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    await house.cancel(child.id)
    run = await house.until(run_id)
    assert run.error is not None
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, "child_cancelled")


@pytest.mark.parametrize(
    ("named", "code"),
    [("No such workflow", "workflow_not_found"), ("wf_" + "0" * 32, "workflow_not_found")],
)
async def test_a_workflow_that_is_not_there(house: House, named: str, code: str) -> None:
    run = await house.finish(flow(call(named)))
    assert run.error is not None
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, code)


async def test_an_input_that_does_not_fit_starts_nothing(house: House) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    inner = await house.define(
        flow(step("transform", "twice", output="{{ input.n * 2 }}"), input_schema=schema)
    )
    run = await house.finish(flow(call(inner.name, input={"n": "two"})))
    assert run.error is not None
    assert (run.status, run.error["code"]) == (RunStatus.FAILED, "input_invalid")
    run = await house.finish(flow(call(inner.name, input={"n": 2})))
    assert (run.status, run.output) == (RunStatus.COMPLETED, 4)


async def test_runs_that_start_themselves_end(house: House) -> None:
    """Sixteen of them, each waiting for the next; the last one is refused."""
    name = f"Ouroboros {house.queue}"
    run_id = await house.start({"name": name, "steps": [call(name)]})
    run = await house.until(run_id)
    assert run.status is RunStatus.FAILED
    assert "16 is the most" in str((run.error or {})["message"])

    def depths(tx: Tx) -> list[int]:
        page, _ = runs.page(tx, house.org, Wanted(), limit=200, offset=0)
        return sorted(row.depth for row in page if row.workflow_name == name)

    assert await house.database.read(depths) == list(range(16))


# --- places ------------------------------------------------------------------------------------


@pytest.fixture
async def single(house: House) -> AsyncIterator[House]:
    """A house of one place."""
    async with open_house(house.client, house.database, limit=1) as single:
        yield single


async def test_one_place_is_enough_for_parents_and_children(
    single: House, receiver: Receiver
) -> None:
    """Three levels, a loop of children among them, several at once: nobody starves another."""
    leaf = await single.define(flow(get(receiver, "a", "/slow/0.1/leaf")))
    each = step("loop", "each", items=[1, 2, 3], concurrency=2, steps=[call(leaf.name, "one")])
    middle = await single.define(flow(each, get(receiver, "b", "/middle", "each")))
    run_ids = [
        await single.start(flow(call(middle.name), get(receiver, "c", "/top", "call")))
        for _ in range(3)
    ]
    for run_id in run_ids:
        run = await single.until(run_id)
        assert run.status is RunStatus.COMPLETED, run.error
    assert (receiver.count("/slow"), receiver.count("/middle"), receiver.count("/top")) == (9, 3, 3)

    def held(tx: Tx) -> list[RunRow]:
        page, _ = runs.page(tx, single.org, Wanted(), limit=200, offset=0)
        return [row for row in page if row.admitted or row.parked or row.status not in TERMINAL]

    assert await single.database.read(held) == []
    seen = await told(single, run_ids[0])
    assert seen[:3] == ["run_queued", "run_started", "run_parked"]
    assert seen[-2:] == ["run_admitted", "run_completed"]


async def test_a_child_that_has_no_place_yet_is_cancelled_at_once(
    single: House, receiver: Receiver
) -> None:
    inner = await single.define(flow(get(receiver, "never")))
    outer = await single.start(flow(get(receiver, "a", "/slow/1/a"), call(inner.name, "call", "a")))
    await until(lambda: receiver.count("/slow/1/") == 1, "it does not run")
    holding = await single.start(flow(get(receiver, "b", "/slow/600/b")))
    child = await child_of(single, outer)
    await single.until(holding, RunStatus.RUNNING)
    await single.cancel(outer)
    await single.until(outer)
    assert (await single.run(child.id)).status is RunStatus.CANCELLED
    assert await told(single, child.id) == ["run_queued", "run_completed"]
    await single.cancel(holding)
    await single.until(holding)
    assert receiver.count("/never") == 0


async def test_a_wake_that_is_lost_is_repaired_by_asking(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is ended by somebody who does not tell its parent."""
    monkeypatch.setattr(run_workflow, "ASK", 1.0)
    inner = await house.define(flow(get(receiver, "a", "/slow/600/a")))
    run_id = await house.start(flow(call(inner.name)))
    child = await child_of(house, run_id)
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    await house.database.write(
        lambda tx: executions.close_execution(tx, child.id, 1, RunStatus.CANCELLED, 100)
    )
    run = await house.until(run_id)
    assert (run.error or {})["code"] == "child_cancelled"


async def test_a_paused_parent_goes_on_waiting(house: House, receiver: Receiver) -> None:
    inner = await house.define(flow(get(receiver, "a", "/slow/3/a")))
    run_id = await house.start(flow(call(inner.name)))
    child = await child_of(house, run_id)
    await until(lambda: receiver.count("/slow") == 1, "it does not run")
    await house.pause(run_id)
    assert (await house.until(run_id)).status is RunStatus.PAUSED
    assert (await house.until(child.id)).status is RunStatus.COMPLETED
    assert (await house.steps(run_id))["call"].status is StepStatus.WAITING
    await house.resume(run_id)
    run = await house.until(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert receiver.count("/slow") == 1
