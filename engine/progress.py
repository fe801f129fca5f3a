"""What may happen next: the functional core of the interpreter.

`advance` looks at a plan and the facts so far and says which steps start, are skipped, wake up or
are given up, and whether the run is over. It marks in the facts what it answers, so that asking
again answers only what is new; it is deterministic and touches nothing else.

The rules (contracts C-q11, DESIGN §8):

* A step is ready when everything it depends on is over, at least one of that completed (or failed
  with `continue`), and nothing failed hard. It is skipped when all of that was skipped.
* A step that a condition names runs only if the condition completed and did not exclude it.
* A catch or fallback step runs only when a step that names it has failed for good.
* After a hard failure nothing new starts but catch steps, which keep their retries and waits;
  activities in flight finish, the waits of all other steps end.
* While the run holds no place nothing starts but what asks whether a wait is over; everything else
  goes on, and whoever would start makes the run want a place.
* An item's steps run in the generation of their loop, so that a loop which is deliberately run
  again repeats its effects.
"""

from collections.abc import Sequence
from dataclasses import replace

from engine.facts import Facts, Failure, LoopFact, Scope, StepFact
from engine.lifecycle import STEP_TERMINAL, StepStatus
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
from engine.plan import Plan, PlannedStep
from engine.standing import Mood, Standing, holds


def advance(plan: Plan, facts: Facts, now: float, *, draining: bool = False) -> Advance:
    """Everything that may happen at `now`; nothing new starts while `draining`."""
    found = Advance()
    closed = draining or facts.pausing
    # What ends is settled before anything starts, for it may doom what would start.
    end = _settled(plan, facts, now, found, Mood(closed=closed, settling=True))
    if not closed:
        end = _settled(plan, facts, now, found, Mood(parked=facts.parked))
    if found.moves:
        return found
    if end is not None:
        found.verdict, found.failure = end
    elif not (found.busy or found.wanting):
        if facts.pausing or holds(plan.steps, facts.steps):
            found.verdict = Verdict.PAUSED
        elif found.wake_at is None and not draining:
            found.verdict = Verdict.FAILED
            found.failure = Failure(code="stuck", message="No step can go on.", retryable=False)
    return found


def _settled(
    plan: Plan, facts: Facts, now: float, found: Advance, mood: Mood
) -> tuple[Verdict, Failure | None] | None:
    """Find moves until no more follow from them; the end of the run, if it has ended."""
    while True:
        # A step that ends without running, or an item that ends with a step in it that waited for
        # an operator, may let others go on.
        seen = len(found.moves)
        found.busy, found.wanting, found.wake_at = False, False, None
        holding = holds(plan.steps, facts.steps)
        scope = _Scope(plan.steps, facts.steps, (), now, found)
        end = scope.advance(replace(mood, holding=holding))
        ended = any(isinstance(move, Skipped | Abandoned) for move in found.moves[seen:])
        if not ended and not (holding and not holds(plan.steps, facts.steps)):
            return end


class _Scope(Standing):
    """A scope that is moved on."""

    def __init__(
        self,
        steps: Sequence[PlannedStep],
        facts: Scope,
        iteration: Iteration,
        now: float,
        found: Advance,
        generation: int = 1,
    ) -> None:
        super().__init__(steps, facts, generation)
        self.iteration = iteration
        self.now = now
        self.found = found

    def advance(self, mood: Mood) -> tuple[Verdict, Failure | None] | None:
        """Find the moves of this scope and of all inside it; its end, if it has ended."""
        moves_before = len(self.found.moves)
        self._skip_what_cannot_run()
        if self.halting() is not None:
            mood = replace(mood, doomed=True)
        open_waits = busy = False
        for step in self.steps:
            fact = self.fact(step.id)
            match fact.status:
                case StepStatus.PENDING:
                    if self.ready(step, mood):
                        self._start(step, fact, mood)
                case StepStatus.RUNNING if fact.polling and self._own(step, mood).stops_polls:
                    open_waits |= self._stop_polling(step, fact, self._own(step, mood))
                case StepStatus.RUNNING:
                    busy = True
                case StepStatus.WAITING:
                    open_waits |= self._wait(step, fact, self._own(step, mood))
                case _:
                    pass
        self.found.busy |= busy
        if busy or open_waits or len(self.found.moves) > moves_before:
            return None
        return None if self.owes(mood) else self._end()

    def _own(self, step: PlannedStep, mood: Mood) -> Mood:
        """What holds for this step: a catch step goes on, whatever failed."""
        return replace(mood, doomed=False, holding=False) if self.catches(step) else mood

    def owes(self, mood: Mood) -> bool:
        """Whether a step is only kept from starting because nothing may start now."""
        opened = replace(mood, closed=False, settling=False)
        return (mood.closed or mood.settling or mood.parked) and any(
            self.fact(step.id).status is StepStatus.PENDING and self.ready(step, opened)
            for step in self.steps
        )

    def goes_on(self, mood: Mood) -> bool:
        """Whether something here is still to happen although the scope is given up."""
        return self.owes(mood) or any(
            self.fact(step.id).status is StepStatus.WAITING for step in self.steps
        )

    def _end(self) -> tuple[Verdict, Failure | None] | None:
        failing = self.halting()
        if failing is not None:
            return Verdict.FAILED, self.failure_of(failing)
        over = all(self.fact(step.id).status in STEP_TERMINAL for step in self.steps)
        if over and not holds(self.steps, self.facts):
            return Verdict.COMPLETED, None
        return None

    def _skip_what_cannot_run(self) -> None:
        """Mark skips until there are no more: skipping spreads."""
        again = True
        while again:
            again = False
            for step in self.steps:
                fact = self.fact(step.id)
                reason = self.reason_to_skip(step) if fact.status is StepStatus.PENDING else None
                if reason:
                    fact.status = StepStatus.SKIPPED
                    self.found.moves.append(Skipped(step, self.iteration, fact, reason))
                    again = True

    def _start(self, step: PlannedStep, fact: StepFact, mood: Mood) -> None:
        if mood.parked and not fact.polling:
            self.found.wanting = True
            return
        fact.status = StepStatus.RUNNING
        self.found.busy = True
        self.found.moves.append(Start(step, self.iteration, fact))

    def _wait(self, step: PlannedStep, fact: StepFact, mood: Mood) -> bool:
        """Look at a waiting step; whether it goes on waiting."""
        if fact.loop is not None:
            return self._loop(step, fact, fact.loop, mood)
        if mood.doomed:
            self._abandon(step, fact)
            return False
        due = fact.polling or (fact.wake_at is not None and fact.wake_at <= self.now)
        if due and fact.sleeping:
            fact.status = StepStatus.RUNNING
            self.found.moves.append(Woken(step, self.iteration, fact))
            return False
        if due and not (mood.closed or mood.settling or mood.holding):
            self._start(step, fact, mood)
            # One that has to wait for a place goes on waiting.
            return fact.status is StepStatus.WAITING
        if not due:
            self.found.due(fact.wake_at)
        return True

    def _stop_polling(self, step: PlannedStep, fact: StepFact, mood: Mood) -> bool:
        """Let go of a poll: for good when the run is failing; whether the step goes on waiting."""
        if mood.doomed:
            self._abandon(step, fact)
            return False
        fact.status = StepStatus.WAITING
        self.found.moves.append(Suspended(step, self.iteration, fact))
        return True

    def _abandon(self, step: PlannedStep, fact: StepFact) -> None:
        """Give up a step that is only waiting; one that waits for its next attempt has failed."""
        fact.loop = None
        fact.status = StepStatus.FAILED if fact.failure else StepStatus.CANCELLED
        self.found.moves.append(Abandoned(step, self.iteration, fact))

    def _loop(self, step: PlannedStep, fact: StepFact, loop: LoopFact, mood: Mood) -> bool:
        """Advance the open items and open new ones; whether the loop goes on."""
        outer_busy = self.found.busy
        again = True
        while again:
            self.found.busy = False
            before = (len(self.found.moves), len(loop.items), loop.failure)
            for index in list(loop.items):
                inner = replace(mood, doomed=mood.doomed or loop.failure is not None)
                self._item(step, fact, loop, index, inner)
            free = replace(mood, parked=False) == Mood()
            opened = free and loop.failure is None and _open_items(loop)
            again = opened or before != (len(self.found.moves), len(loop.items), loop.failure)
        busy, self.found.busy = self.found.busy, self.found.busy or outer_busy
        if busy or loop.items:
            return True
        unfinished = loop.completed + loop.failed < loop.each.count
        if loop.failure is None and unfinished:
            if mood.doomed:
                self._abandon(step, fact)
            return not mood.doomed
        fact.status = StepStatus.RUNNING
        fact.loop = None
        self.found.moves.append(LoopOver(step, self.iteration, fact, loop.failure))
        return False

    def _item(
        self, step: PlannedStep, fact: StepFact, loop: LoopFact, index: int, mood: Mood
    ) -> None:
        """Advance one open item and close it when it is over or given up."""
        moves_before = len(self.found.moves)
        others_busy, self.found.busy = self.found.busy, False
        scope = _Scope(
            step.body,
            loop.items[index],
            (*self.iteration, index),
            self.now,
            self.found,
            fact.generation,
        )
        end = scope.advance(mood)
        idle = not self.found.busy and len(self.found.moves) == moves_before
        if end is not None:
            _close_item(loop, index, *end)
        elif mood.doomed and idle and not scope.goes_on(mood):
            del loop.items[index]
        self.found.busy |= others_busy


def _close_item(loop: LoopFact, index: int, verdict: Verdict, failure: Failure | None) -> None:
    """Count an item that is over; unless the loop goes on all the same, its failure ends it."""
    del loop.items[index]
    if verdict is Verdict.COMPLETED:
        loop.completed += 1
        return
    loop.failed += 1
    if loop.each.on_item_error == "fail" and loop.failure is None:
        cause = failure or Failure(code="item_failed", message="no reason recorded")
        loop.failure = cause.model_copy(update={"message": f"Item {index} failed: {cause.message}"})


def _open_items(loop: LoopFact) -> bool:
    """Open as many items as may run at once; whether there were any."""
    opened = False
    while loop.next < loop.each.count and len(loop.items) < loop.each.concurrency:
        loop.items[loop.next] = {}
        loop.next += 1
        opened = True
    return opened
