"""`RunWorkflow`: one execution of one run.

It holds a plan and facts, asks `engine.progress` what may happen, lets it happen, and takes in what
came of it. Everything that it knows of a step is its status: configuration, inputs and outputs are
read and written by activities, so the history stays small and holds nothing of the user's.

    open_run ──► advance ──► activities, timers ──► settle, fail ──┐
                    ▲    │                                         │
                    │    └─► park_run, place_run: only waits, goes on
                    ├──────────────────────────────────────────────┘
                    └──► close_run: completed, failed, cancelled or paused

A pause ends the execution, as a failure does; a resume begins the next one from the recorded facts.
Source: DESIGN §3; decision 0003 for the pause.
"""

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from engine.book import (
        Entries,
        Entry,
        LoopClosed,
        LoopEnd,
        Opened,
        RunClosed,
        RunEnd,
        RunRef,
        Wake,
    )
    from engine.call import StepCall
    from engine.facts import PAUSING, UNPLACED, Facts, Failure, StepFact
    from engine.lifecycle import RunStatus, StepStatus
    from engine.moves import (
        Abandoned,
        Advance,
        Iteration,
        LoopOver,
        Skipped,
        Start,
        Suspended,
        Verdict,
        Woken,
    )
    from engine.outcomes import Answer, Done
    from engine.plan import Plan, PlannedStep
    from engine.progress import advance
    from engine.settle import ask_again, fail, settle
    from workflows import dispatch, schedules
    from workflows.contract import ADMIT, PAUSE, RUN, WAKE, Carried, RunInput
    from workflows.placing import ASK_AGAIN, Placing

#: Events after which nothing new starts until the execution can carry its facts over.
LONG = 2_000

Key = tuple[str, Iteration]
_ENDS = {
    Verdict.COMPLETED: RunStatus.COMPLETED,
    Verdict.FAILED: RunStatus.FAILED,
    Verdict.PAUSED: RunStatus.PAUSED,
}


@workflow.defn(name=RUN)
class RunWorkflow:
    """Carries out one execution of a run, whatever its definition says."""

    @workflow.init
    def __init__(self, begin: RunInput) -> None:
        self._ref = RunRef(run=begin.run, n=begin.n)
        self._plan = begin.carried.plan if begin.carried else Plan(steps=[])
        self._facts = begin.carried.facts if begin.carried else Facts()
        #: Activities in flight.
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        #: Polls that were let go and have not heard of it yet.
        self._leaving: set[asyncio.Task[None]] = set()
        #: What they answered and was not taken in yet.
        self._inbox: list[tuple[PlannedStep, Iteration, StepFact, Answer | Failure]] = []
        #: What is to be recorded with the next call of the ledger.
        self._entries: list[Entry] = []
        #: Steps whose waits are over, as somebody has told.
        self._woken: list[Wake] = []
        self._placing = Placing(self._ref)
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at: float | None = None
        #: Something happened that may change what comes next.
        self._news = False
        self._closed = False

    @workflow.signal(name=ADMIT)
    def admit(self) -> None:
        """A place was given to this run."""
        self._placing.given = self._news = True

    @workflow.signal(name=WAKE)
    def wake(self, over: Wake) -> None:
        """What a step waits for is over: ask it at once."""
        self._woken.append(over)
        self._news = True

    @workflow.signal(name=PAUSE)
    def pause(self) -> None:
        """Start nothing new, and end as paused when what is in flight has finished."""
        self._facts.pausing = True
        self._news = True

    @workflow.run
    async def run(self, begin: RunInput) -> None:
        """Open, interpret, close."""
        try:
            if begin.carried is not None or (await self._is_run(begin) and await self._open()):
                await self._interpret()
        except asyncio.CancelledError:
            await self._stop()
            await self._close(RunStatus.CANCELLED, None)
            raise

    async def _is_run(self, begin: RunInput) -> bool:
        """Become a run if a schedule has started this; False when it is not to be one."""
        if begin.schedule is None:
            return True
        due = begin.due or schedules.due(begin.schedule)
        self._ref.run = due.run
        return await schedules.opened(due)

    async def _open(self) -> bool:
        """Wait for a place; False when the run needs no execution any more."""
        while True:
            opened = await dispatch.ledger("open_run", self._ref, Opened)
            if opened.state == "over":
                return False
            if opened.plan is not None and opened.facts is not None:
                opened.facts.pausing |= self._facts.pausing
                self._plan, self._facts = opened.plan, opened.facts
                return True
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self._placing.given, timeout=ASK_AGAIN)
            self._placing.given = False

    async def _interpret(self) -> None:
        while True:
            self._take_in()
            if self._closed or self._placing.over:
                # The row was closed by somebody else: nothing is left to record.
                await self._stop()
                await self._close(RunStatus.CANCELLED, None)
                return
            draining = self._is_long()
            found, starts = self._advance(draining=draining)
            if found.verdict is not None:
                await self._end(found.verdict, found.failure)
                return
            if self._entries:
                # What starts now may read what is recorded here.
                await self._record()
            for start in starts:
                self._launch(start)
            if draining and not (self._tasks or self._leaving or self._inbox):
                workflow.continue_as_new(
                    RunInput(
                        run=self._ref.run,
                        n=self._ref.n,
                        carried=Carried(plan=self._plan, facts=self._facts),
                    )
                )
            if draining or not await self._placing.see_to(self._facts, found):
                await self._wait(found.wake_at)

    # --- deciding -------------------------------------------------------------------------

    def _take_in(self) -> None:
        """Turn what activities answered into facts."""
        self._news = False
        now = _now()
        if self._inbox:
            self._placing.since = now
        while self._inbox:
            step, iteration, fact, answer = self._inbox.pop(0)
            if isinstance(answer, Answer):
                settle(fact, answer.root)
            elif answer.code == "RunClosed":
                self._closed = True
            elif answer.code in (PAUSING, UNPLACED):
                self._facts.pausing |= answer.code == PAUSING
                self._facts.parked |= answer.code == UNPLACED
                # A retry stays due; what was never begun is as if it had not been asked for.
                fact.status = StepStatus.WAITING if fact.failures else StepStatus.PENDING
            else:
                fail(step, fact, answer, now)
                if isinstance(answer, dispatch.Unrecorded):
                    self._note(step, iteration, fact, StepStatus.FAILED, failure=answer)
        while self._woken:
            over = self._woken.pop(0)
            key = (over.step, tuple(over.iteration))
            if ask_again(self._plan, self._facts, *key):
                self._cancel(key)

    def _advance(self, *, draining: bool) -> tuple[Advance, list[Start | LoopOver]]:
        """Ask until nothing new comes: the last answer, and everything that is to be started."""
        starts: list[Start | LoopOver] = []
        while True:
            found = advance(self._plan, self._facts, _now(), draining=draining)
            for move in found.moves:
                match move:
                    case Start() | LoopOver():
                        starts.append(move)
                    case Suspended(step=step, iteration=iteration):
                        self._cancel((step.id, iteration))
                    case Skipped(step=step, iteration=iteration, fact=fact, reason=reason):
                        self._note(step, iteration, fact, StepStatus.SKIPPED, reason=reason)
                    case Woken(step=step, iteration=iteration, fact=fact):
                        fact.status = StepStatus.COMPLETED
                        self._note(step, iteration, fact, StepStatus.COMPLETED)
                    case Abandoned(step=step, iteration=iteration, fact=fact):
                        self._cancel((step.id, iteration))
                        given_up = "Another step failed."
                        self._note(step, iteration, fact, fact.status, reason=given_up)
            if not found.moves:
                return found, starts
            self._placing.since = _now()

    def _note(
        self,
        step: PlannedStep,
        iteration: Iteration,
        fact: StepFact,
        status: StepStatus,
        *,
        reason: str = "",
        failure: Failure | None = None,
    ) -> None:
        """Have something recorded that no activity of the step's own records."""
        self._entries.append(
            Entry(
                step=step.id,
                iteration=list(iteration),
                generation=fact.generation,
                attempt=fact.failures if status is StepStatus.FAILED else fact.failures + 1,
                status=status,
                reason=reason,
                failure=failure,
            )
        )

    def _is_long(self) -> bool:
        info = workflow.info()
        return info.get_current_history_length() > LONG or info.is_continue_as_new_suggested()

    # --- doing ----------------------------------------------------------------------------

    def _launch(self, move: Start | LoopOver) -> None:
        key = (move.step.id, move.iteration)
        self._tasks[key] = asyncio.create_task(self._deliver(key, move))

    async def _deliver(self, key: Key, move: Start | LoopOver) -> None:
        """Put the answer into the inbox; a cancelled step has none, whatever it still answers."""
        answer = None
        with contextlib.suppress(asyncio.CancelledError, CancelledError):
            answer = await (self._perform(move) if isinstance(move, Start) else self._gather(move))
        if self._tasks.get(key) is not asyncio.current_task():
            # A poll that was let go may end with "not yet" instead of as cancelled.
            return
        del self._tasks[key]
        if answer is not None:
            self._inbox.append((move.step, move.iteration, move.fact, answer))
            self._news = True

    async def _perform(self, move: Start) -> Answer | Failure:
        step, fact = move.step, move.fact
        attempt = fact.failures + 1
        call = StepCall(
            run=self._ref.run,
            n=self._ref.n,
            step=step.id,
            iteration=list(move.iteration),
            generation=move.fact.generation,
            attempt=attempt,
            final=attempt >= step.attempts,
            # A retry has time to spare, and a poll has to outlive its worker.
            local=step.local and not fact.polling and (step.decides or attempt == 1),
            poll=fact.polling,
            once=step.once,
            now=_now(),
        )
        return await dispatch.step(step, call)

    async def _gather(self, move: LoopOver) -> Answer | Failure:
        attempt = move.fact.failures + 1
        end = LoopEnd(
            **self._ref.model_dump(),
            step=move.step.id,
            iteration=list(move.iteration),
            generation=move.fact.generation,
            attempt=attempt,
            final=attempt >= move.step.attempts,
            failure=move.failure,
        )
        closed = await dispatch.ledger("close_loop", end, LoopClosed)
        return closed.failure or Answer(Done())

    def _cancel(self, key: Key) -> None:
        task = self._tasks.pop(key, None)
        if task is not None:
            self._leaving.add(task)
            task.add_done_callback(self._left)
            task.cancel()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        self._news = True

    async def _record(self) -> None:
        entries, self._entries = self._entries, []
        await dispatch.ledger(
            "record", Entries(**self._ref.model_dump(), entries=entries), type(None)
        )

    async def _wait(self, wake_at: float | None) -> None:
        """Wait for an answer, a signal, or the time at which something is due."""
        self._set_alarm(wake_at)
        await workflow.wait_condition(lambda: self._news)

    def _set_alarm(self, wake_at: float | None) -> None:
        """One timer for whatever is due first; it is set anew only when that changes."""
        if wake_at == self._alarm_at and self._alarm is not None and not self._alarm.done():
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = wake_at
        self._alarm = None if wake_at is None else asyncio.create_task(self._ring(wake_at))

    async def _ring(self, wake_at: float) -> None:
        await workflow.sleep(timedelta(seconds=max(0.0, wake_at - _now())))
        self._news = True

    # --- ending ---------------------------------------------------------------------------

    async def _stop(self) -> None:
        """Cancel everything in flight and wait until none of it runs any more."""
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._leaving, return_exceptions=True)

    async def _end(self, verdict: Verdict, failure: Failure | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        status = await self._close(_ENDS[verdict], failure)
        if status is RunStatus.FAILED:
            # Temporal shows the execution as failed; the reason is in the run's own record.
            raise ApplicationError(
                "The run failed.", type=failure.code if failure else None, non_retryable=True
            )

    async def _close(self, status: RunStatus, failure: Failure | None) -> RunStatus:
        end = RunEnd(
            **self._ref.model_dump(), entries=self._entries, status=status, failure=failure
        )
        closed = await dispatch.ledger("close_run", end, RunClosed)
        return closed.status


def _now() -> float:
    return workflow.now().timestamp()
