"""`BatchWorkflow`: one execution of a batch, a run with a lane for each entity.

It hands windows of lanes to activities, some at a time, and knows of each only how it has ended:
which lane stands where is in the lanes' rows. So its history grows with the windows and not with
the entities.

    open_batch ──► perform_lanes, some at a time ──► steps for the whole batch ──► close_batch

A pause, an exhausted budget of failures and a cancel end the execution, as in `workflows.run`; a
resume begins the next one with the lanes that are open. Source: DESIGN §3; decision 0015.
"""

import asyncio
import contextlib
from datetime import timedelta
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import CancelledError

with workflow.unsafe.imports_passed_through():
    from engine.batch import BATCH, BatchEnd, BatchOpened, WindowCall, shares
    from engine.book import RunRef
    from engine.call import StepCall
    from engine.facts import PAUSING, Failure, StepFact
    from engine.lifecycle import StepStatus
    from engine.outcomes import Answer
    from engine.plan import PlannedStep
    from engine.settle import fail
    from workflows import dispatch
    from workflows.contract import ADMIT, PAUSE, BatchInput, CarriedBatch
    from workflows.placing import ASK_AGAIN

#: Events after which no window begins until the execution can begin its history anew.
LONG = 2_000

How = Literal["over", "paused", "halted", "cancelled", "broken", "after"]


@workflow.defn(name=BATCH)
class BatchWorkflow:
    """Carries out one execution of a batch."""

    @workflow.init
    def __init__(self, begin: BatchInput) -> None:
        self._ref = RunRef(run=begin.run, n=begin.n)
        #: A place was given, and it was not taken note of yet.
        self._given = False
        #: How the execution is to end if some lanes are not over by then.
        self._how: How | None = None
        self._failure: Failure | None = None
        #: A window has ended, and some of its lanes are not over.
        self._unfinished = False
        #: Windows in flight, each with the share of lanes that it has.
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._next = begin.carried.next if begin.carried else 0

    @workflow.signal(name=ADMIT)
    def admit(self) -> None:
        """A place was given to this run."""
        self._given = True

    @workflow.signal(name=PAUSE)
    def pause(self) -> None:
        """Begin no window; lanes that are under way stop by themselves between two steps."""
        self._how = self._how or "paused"

    @workflow.run
    async def run(self, begin: BatchInput) -> None:
        """Open, carry out, close."""
        try:
            opened = begin.carried.opened if begin.carried else await self._open()
            if opened is None:
                return
            await self._carry_out(opened)
            if self._next >= opened.windows and not self._unfinished:
                # A pause comes too late for the lanes.
                self._how = None
                await self._afterwards(opened.after)
            await self._close(self._how or "over")
        except asyncio.CancelledError:
            await self._stop()
            await self._close("cancelled")
            raise

    async def _open(self) -> BatchOpened | None:
        """Wait for a place; None when the run needs no execution any more."""
        while True:
            opened = await dispatch.ledger("open_batch", self._ref, BatchOpened)
            if opened.state == "over":
                return None
            if opened.state == "admitted":
                self._next = opened.first
                return opened
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self._given, timeout=ASK_AGAIN)
            self._given = False

    async def _carry_out(self, opened: BatchOpened) -> None:
        """Carry out window after window, until all are through or something comes between."""
        free = shares(opened.concurrency, opened.windows - self._next)
        while self._tasks or self._goes_on(opened):
            while free and self._goes_on(opened) and not self._is_long():
                at_once = free.pop(0)
                call = WindowCall(**self._ref.model_dump(), window=self._next, at_once=at_once)
                self._tasks[asyncio.create_task(self._window(call))] = at_once
                self._next += 1
            if not self._tasks:
                workflow.continue_as_new(
                    BatchInput(
                        run=self._ref.run,
                        n=self._ref.n,
                        carried=CarriedBatch(opened=opened, next=self._next),
                    )
                )
            done, _ = await workflow.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                free.append(self._tasks.pop(task))
                task.result()

    def _goes_on(self, opened: BatchOpened) -> bool:
        return self._how is None and self._next < opened.windows

    async def _window(self, call: WindowCall) -> None:
        done = await dispatch.window(call)
        if isinstance(done, Failure):
            self._unfinished = True
            self._how, self._failure = self._how or "broken", self._failure or done
        elif done.state != "done":
            self._unfinished = True
            # Whoever has ended the run has recorded that; to close it again changes nothing.
            self._how = self._how or ("cancelled" if done.state == "over" else done.state)

    async def _afterwards(self, steps: list[PlannedStep]) -> None:
        """Carry out the steps for the whole batch, one after the other.

        One that fails lets the run fail, unless it says `continue`, and nothing about the entities
        changes: a resume begins with that step.
        """
        for step in steps:
            fact = StepFact()
            while fact.status in (StepStatus.PENDING, StepStatus.WAITING) and self._how is None:
                answer = await dispatch.step(step, self._call(step, fact))
                if isinstance(answer, Answer):
                    break
                if answer.code in ("RunClosed", PAUSING):
                    self._how = "paused" if answer.code == PAUSING else "cancelled"
                    return
                now = workflow.now().timestamp()
                fail(step, fact, answer, now)
                if fact.wake_at is not None:
                    await workflow.sleep(timedelta(seconds=fact.wake_at - now))
                elif step.on_error != "continue":
                    self._how, self._failure = "after", answer

    def _call(self, step: PlannedStep, fact: StepFact) -> StepCall:
        attempt = fact.failures + 1
        return StepCall(
            run=self._ref.run,
            n=self._ref.n,
            step=step.id,
            attempt=attempt,
            final=attempt >= step.attempts,
            local=step.local and (step.decides or attempt == 1),
            now=workflow.now().timestamp(),
        )

    def _is_long(self) -> bool:
        info = workflow.info()
        return info.get_current_history_length() > LONG or info.is_continue_as_new_suggested()

    async def _stop(self) -> None:
        """Cancel the windows in flight and wait until nothing of them runs any more."""
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self, how: How) -> None:
        end = BatchEnd(**self._ref.model_dump(), how=how, failure=self._failure)
        await dispatch.ledger("close_batch", end, type(None))
