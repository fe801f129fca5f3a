"""The wrapper round a step: what its row says is not done again.

The activities are called as Temporal calls them, without a workflow around them.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.perform import Performer
from activities.registry import catalog, step_types
from engine.call import StepCall
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Answer
from store import executions, journal, runs
from store.runs import NewRun
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import Step, flow, get
from worker.build import build
from worker.settings import Settings


@dataclass
class Bench:
    """A run in progress, whose steps are asked for one by one."""

    house: House
    performer: Performer
    run: str = ""

    async def begin(self, *steps: Step) -> None:
        """Open the first execution of a new run."""
        row = await self.house.define(flow(*steps))
        new = NewRun(self.house.org, row.id, row.name, row.version, "full_engine", "manual", {})
        run = await self.house.database.write(lambda tx: runs.accept(tx, new))
        self.run = run.id
        await self.house.database.write(
            lambda tx: executions.open_execution(tx, run.id, 1, 100, catalog())
        )

    def asked(self, step_id: str, **more: object) -> StepCall:
        return StepCall.model_validate({"run": self.run, "step": step_id, **more})

    async def call(self, step_id: str, **more: object) -> str:
        """Ask for the step; the kind of its answer."""
        perform = self.performer.activity("http_request", step_types()["http_request"])
        answer: Answer = await ActivityEnvironment().run(perform, self.asked(step_id, **more))
        return answer.root.kind

    async def code(self, step_id: str, **more: object) -> str | None:
        """Ask for a step that cannot answer; the type of the error that Temporal gets."""
        with pytest.raises(ApplicationError) as caught:
            await self.call(step_id, **more)
        return caught.value.type

    async def status(self, step_id: str) -> StepStatus:
        return (await self.house.steps(self.run))[step_id].status


@pytest.fixture
async def bench(house: House) -> AsyncIterator[Bench]:
    """A performer as the worker has it; no worker runs."""
    worker_id = f"bench-{uuid4().hex}"
    settings = Settings.model_validate(
        {"SIGNALBOX_EGRESS_ALLOW": "127.0.0.0/8", "SIGNALBOX_TASK_QUEUE": worker_id}
    )
    async with build(house.client, house.database, settings, worker_id=worker_id) as built:
        yield Bench(house, built.performer)


async def test_what_is_completed_is_answered_from_its_row(bench: Bench, receiver: Receiver) -> None:
    await bench.begin(get(receiver, "a"))
    assert await bench.call("a") == "done"
    events = len(await bench.house.events(bench.run))
    for more in ({}, {"local": True}, {"moved": True}, {"attempt": 2}):
        assert await bench.call("a", **more) == "done"
    assert receiver.count("/") == 1
    assert len(await bench.house.events(bench.run)) == events


async def test_what_failed_is_attempted_again_under_its_key(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a", "/flaky/1/a"))
    assert await bench.code("a", final=False) == "http_status"
    assert await bench.status("a") is StepStatus.WAITING
    await bench.call("a", attempt=2)
    assert await bench.status("a") is StepStatus.COMPLETED
    assert receiver.keys() == Counter({f"{bench.run}/a/-/1": 2})


@pytest.mark.parametrize("final", [False, True])
async def test_a_failure_whose_answer_was_lost_is_answered_from_its_row(
    bench: Bench, receiver: Receiver, final: bool
) -> None:
    """The same attempt of the same execution; the next one of either is made."""
    await bench.begin(get(receiver, "a", "/flaky/1/a"))
    for more in ({}, {"local": True}, {"moved": True}):
        assert await bench.code("a", final=final, **more) == "http_status"
    types = [str(event.type) for event in await bench.house.events(bench.run)]
    assert types[2:] == ["step_started", "step_failed"]
    await bench.house.database.write(lambda tx: executions.pause(tx, bench.house.org, bench.run))
    assert await bench.code("a", final=final) == "http_status"
    assert receiver.count("/") == 1
    assert await bench.code("a", final=final, attempt=2) == "Pausing"


async def test_a_new_generation_repeats_it_under_another_key(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a"))
    await bench.call("a")
    await bench.call("a", generation=2)
    assert receiver.keys() == Counter({f"{bench.run}/a/-/{g}": 1 for g in (1, 2)})
    assert await bench.code("a", generation=1) == "RunClosed"
    assert receiver.count("/") in (2, 3)
    assert (await bench.house.steps(bench.run))["a"].generation == 2


async def test_an_execution_that_was_replaced_does_nothing(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a"))
    assert await bench.code("a", n=2) == "RunClosed"
    await bench.house.database.write(
        lambda tx: executions.close_execution(tx, bench.run, 1, RunStatus.PAUSED, 100)
    )
    assert await bench.code("a") == "RunClosed"
    await bench.house.database.write(
        lambda tx: executions.resume(tx, bench.house.org, bench.run, None, catalog())
    )
    await bench.house.database.write(
        lambda tx: executions.open_execution(tx, bench.run, 2, 100, catalog())
    )
    assert await bench.code("a") == "RunClosed"
    assert receiver.count("/") == 0
    await bench.call("a", n=2)
    assert receiver.count("/") == 1


async def test_a_run_that_is_being_cancelled_starts_nothing(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a"))
    await bench.house.database.write(lambda tx: executions.cancel(tx, bench.house.org, bench.run))
    assert await bench.code("a") == "RunClosed"
    assert receiver.count("/") == 0


async def test_a_run_that_is_being_paused_starts_nothing_and_finishes_what_it_began(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "done"), get(receiver, "begun"), get(receiver, "new"))
    await bench.call("done")
    begun = bench.asked("begun")
    await bench.house.database.write(lambda tx: journal.begin(tx, begun, "a-lost-worker", 1))
    await bench.house.database.write(lambda tx: executions.pause(tx, bench.house.org, bench.run))
    assert await bench.code("new") == "Pausing"
    assert await bench.call("done") == "done"
    assert await bench.call("begun") == "done"
    assert [delivery.path for delivery in receiver.deliveries] == ["/done", "/begun"]


async def test_a_run_that_ends_while_the_step_is_busy_keeps_its_end(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a", "/slow/0.5/a"))
    asked = asyncio.create_task(bench.code("a"))
    while receiver.count("/") == 0:
        await asyncio.sleep(0.01)
    await bench.house.database.write(
        lambda tx: executions.close_execution(tx, bench.run, 1, RunStatus.CANCELLED, 100)
    )
    assert await asked == "RunClosed"
    assert await bench.status("a") is StepStatus.CANCELLED
    types = [str(event.type) for event in await bench.house.events(bench.run)]
    assert types[-1] == "run_completed"


async def test_two_at_once_are_one(bench: Bench, receiver: Receiver) -> None:
    await bench.begin(get(receiver, "a", "/slow/0.5/a"))
    answers = await asyncio.gather(*(bench.call("a", attempt=1) for _ in range(3)))
    assert answers == ["done"] * 3
    assert receiver.count("/") == 1


async def test_what_takes_long_is_handed_over_and_goes_on(bench: Bench, receiver: Receiver) -> None:
    await bench.begin(get(receiver, "a", "/slow/2.5/a"))
    assert await bench.code("a", local=True) == "MoveToOrdinary"
    assert await bench.status("a") is StepStatus.RUNNING
    assert await bench.call("a", moved=True) == "done"
    assert receiver.count("/") == 1
    assert await bench.status("a") is StepStatus.COMPLETED


async def test_what_may_not_be_repeated_is_left_to_an_operator(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a", effect="once"))
    call = bench.asked("a", once=True)
    await bench.house.database.write(lambda tx: journal.begin(tx, call, "a-lost-worker", 1))
    for _ in range(2):
        assert await bench.code("a", once=True) == "outcome_unknown"
        assert await bench.status("a") is StepStatus.FAILED
    assert receiver.count("/") == 0


async def test_what_may_not_be_repeated_is_marked_before_it_is_done(
    bench: Bench, receiver: Receiver
) -> None:
    await bench.begin(get(receiver, "a", "/slow/0.3/a", effect="once"))
    asked = asyncio.create_task(bench.call("a", once=True))
    while receiver.count("/") == 0:
        await asyncio.sleep(0.01)
    assert await bench.status("a") is StepStatus.RUNNING
    await asked
    assert await bench.call("a", once=True) == "done"
    assert receiver.count("/") == 1


async def test_an_unknown_outcome_pauses_the_run_whatever_the_step_says(
    house: House, receiver: Receiver
) -> None:
    """The row of a step looks as after a lost worker, although the run has just come to it."""
    policies: list[Step] = [{}, {"on_error": "continue"}, {"retry": {"delay": 0.1}}]
    for number, policy in enumerate(policies):
        run_id = await house.start(
            flow(
                get(receiver, "a", f"/slow/0.7/{number}"),
                get(receiver, "pay", f"/pay/{number}", "a", effect="once", **policy),
                get(receiver, "after", f"/after/{number}", "pay"),
            )
        )
        while receiver.count(f"/slow/0.7/{number}") == 0:
            await asyncio.sleep(0.01)
        lost = StepCall(run=run_id, step="pay", once=True)
        await house.database.write(partial(journal.begin, call=lost, worker="lost", started_at=1))
        row = await house.until(run_id)
        assert row.status is RunStatus.PAUSED
        steps = await house.steps(run_id)
        assert steps["pay"].status is StepStatus.FAILED
        assert (steps["pay"].error or {})["code"] == "outcome_unknown"
        assert receiver.count(f"/pay/{number}") == 0
        # The operator has looked: it had not happened.
        await house.resume(run_id)
        assert (await house.until(run_id)).status is RunStatus.COMPLETED
        assert receiver.keys(f"/pay/{number}") == Counter({f"{run_id}/pay/-/1": 1})
        assert receiver.count(f"/after/{number}") == 1
