"""What may happen next: the functional core of the interpreter.

`advance` looks at a plan and the facts so far and says which steps start, are skipped, wake up or
are given up, and whether the run is over. It marks in the facts what it answers, so that asking
again answers only what is new; it is deterministic and touches nothing else.

The rules (contracts C-q11, DESIGN §8):

* A step is ready when everything it depends on is over, at least one of that completed (or failed
  with `continue`), and nothing failed hard. It is skipped when all of that was skipped.
* A step that a condition names runs only if the condition completed and did not exclude it.
* A catch or fallback step runs only when a step that names it has failed for good.
* After a hard failure nothing new starts but catch steps; activities in flight finish, waits end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from engine.facts import Facts, Failure, LoopFact, Scope, StepFact
from engine.lifecycle import STEP_TERMINAL, StepStatus
from engine.moves import (
    Abandoned,
    Advance,
    Iteration,
    LoopOver,
    Skipped,
    Start,
    Verdict,
    Woken,
)
from engine.plan import Plan, PlannedStep


class Effect(Enum):
    """What the end of a step means for the steps that depend on it."""

    OPEN = auto()
    OK = auto()
    SKIPPED = auto()
    HARD = auto()
    HOLD = auto()


def advance(plan: Plan, facts: Facts, now: float, *, draining: bool = False) -> Advance:
    """Everything that may happen at `now`; nothing new starts while `draining`."""
    found = Advance()
    holding = _holds(plan.steps, facts.steps)
    closed = draining or facts.pausing
    end = _Scope(plan.steps, facts.steps, (), now, found).advance(
        _Mood(closed=closed, holding=holding)
    )
    if end is not None:
        found.verdict, found.failure = end
    elif not found.busy and not found.moves:
        if holding or facts.pausing:
            found.verdict = Verdict.PAUSED
        elif found.wake_at is None and not draining:
            found.verdict = Verdict.FAILED
            found.failure = Failure(code="stuck", message="No step can go on.", retryable=False)
    return found


@dataclass(frozen=True)
class _Mood:
    """What is decided outside of a scope and holds inside it.

    Attributes:
        closed: nothing starts.
        holding: nothing starts but catch steps, and waits go on.
        doomed: nothing starts, and waits are given up.
    """

    closed: bool = False
    holding: bool = False
    doomed: bool = False


def _holds(steps: Sequence[PlannedStep], scope: Scope) -> bool:
    """Whether a failed step, here or in an open item, waits for an operator."""
    for step in steps:
        fact = scope.get(step.id)
        if fact is None:
            continue
        if fact.status is StepStatus.FAILED and step.on_error == "pause":
            return True
        if fact.loop and any(_holds(step.body, inner) for inner in fact.loop.items.values()):
            return True
    return False


class _Scope:
    """One DAG with its facts: the whole run, or the body of a loop for one item."""

    def __init__(
        self,
        steps: Sequence[PlannedStep],
        facts: Scope,
        iteration: Iteration,
        now: float,
        found: Advance,
    ) -> None:
        self.steps = steps
        self.facts = facts
        self.iteration = iteration
        self.now = now
        self.found = found
        self.by_id = {step.id: step for step in steps}
        self.triggers: dict[str, list[PlannedStep]] = {}
        for step in steps:
            for target in step.targets:
                self.triggers.setdefault(target, []).append(step)

    def fact(self, step_id: str) -> StepFact:
        """The step's fact, made when it is first looked at."""
        return self.facts.setdefault(step_id, StepFact())

    def advance(self, mood: _Mood) -> tuple[Verdict, Failure | None] | None:
        """Find the moves of this scope and of all inside it; its end, if it has ended."""
        moves_before = len(self.found.moves)
        self._skip_what_cannot_run()
        if self._halting() is not None:
            mood = replace(mood, doomed=True)
        open_waits = busy = False
        for step in self.steps:
            fact = self.fact(step.id)
            match fact.status:
                case StepStatus.PENDING:
                    if self._ready(step, mood):
                        self._start(step, fact)
                case StepStatus.RUNNING:
                    busy = True
                case StepStatus.WAITING:
                    open_waits |= self._wait(step, fact, mood)
                case _:
                    pass
        self.found.busy |= busy
        if busy or open_waits or len(self.found.moves) > moves_before:
            return None
        return self._end()

    def _end(self) -> tuple[Verdict, Failure | None] | None:
        failing = self._halting()
        if failing is not None:
            return Verdict.FAILED, self._failure_of(failing)
        over = all(self.fact(step.id).status in STEP_TERMINAL for step in self.steps)
        if over and not _holds(self.steps, self.facts):
            return Verdict.COMPLETED, None
        return None

    def _failure_of(self, step: PlannedStep) -> Failure | None:
        """Why the scope fails: the fallback's own failure where there is one."""
        fallback = step.fallback if step.on_error == "fallback" else None
        failure = self.fact(fallback).failure if fallback else None
        return failure or self.fact(step.id).failure

    # --- what steps mean for each other ---------------------------------------------------

    def effect(self, step: PlannedStep) -> Effect:
        """What depends on `step` may make of it."""
        fact = self.fact(step.id)
        match fact.status:
            case StepStatus.COMPLETED:
                return Effect.OK
            case StepStatus.SKIPPED:
                return Effect.SKIPPED
            case StepStatus.CANCELLED:
                return Effect.HARD
            case StepStatus.FAILED:
                return self._effect_of_failure(step)
            case _:
                return Effect.OPEN

    def _effect_of_failure(self, step: PlannedStep) -> Effect:
        if step.catch and self.fact(step.catch).status not in STEP_TERMINAL:
            return Effect.OPEN
        match step.on_error:
            case "continue":
                return Effect.OK
            case "pause":
                return Effect.HOLD
            case "fallback" if step.fallback:
                return self.effect(self.by_id[step.fallback])
            case _:
                return Effect.HARD

    def _halting(self) -> PlannedStep | None:
        """The first step whose failure fails this scope."""
        for step in self.steps:
            if self.fact(step.id).status is not StepStatus.FAILED:
                continue
            if step.on_error in ("fail", "retry"):
                return step
            if step.on_error == "fallback" and self._effect_of_failure(step) is Effect.HARD:
                return step
        return None

    def _ready(self, step: PlannedStep, mood: _Mood) -> bool:
        if mood.closed:
            return False
        if step.id in self.triggers:
            return self._armed(step) and (
                mood.doomed
                or all(
                    self.effect(self.by_id[other]) is not Effect.OPEN
                    for other in step.awaits
                    if self.by_id[other] not in self.triggers[step.id]
                )
            )
        if mood.doomed or mood.holding:
            return False
        effects = [self.effect(self.by_id[other]) for other in step.awaits]
        return all(effect in (Effect.OK, Effect.SKIPPED) for effect in effects) and (
            not effects or Effect.OK in effects
        )

    def _armed(self, target: PlannedStep) -> bool:
        """Whether a step that names this one as catch or fallback has failed for good."""
        for trigger in self.triggers[target.id]:
            if self.fact(trigger.id).status is not StepStatus.FAILED:
                continue
            if trigger.catch == target.id:
                return True
            if trigger.catch is None or self.fact(trigger.catch).status in STEP_TERMINAL:
                return True
        return False

    # --- what will not run ----------------------------------------------------------------

    def _skip_what_cannot_run(self) -> None:
        """Mark skips until there are no more: skipping spreads."""
        again = True
        while again:
            again = False
            for step in self.steps:
                fact = self.fact(step.id)
                reason = self._reason_to_skip(step) if fact.status is StepStatus.PENDING else None
                if reason:
                    fact.status = StepStatus.SKIPPED
                    self.found.moves.append(Skipped(step, self.iteration, reason))
                    again = True

    def _reason_to_skip(self, step: PlannedStep) -> str | None:
        if not step.enabled:
            return "The step is disabled."
        for gate in step.gates:
            fact = self.fact(gate)
            if fact.status is StepStatus.COMPLETED and step.id in fact.untaken:
                return f"Condition '{gate}' took the other branch."
            if fact.status in STEP_TERMINAL and fact.status is not StepStatus.COMPLETED:
                return f"Condition '{gate}' did not complete."
        if step.id in self.triggers:
            spared = all(
                self.fact(trigger.id).status in STEP_TERMINAL
                and self.fact(trigger.id).status is not StepStatus.FAILED
                for trigger in self.triggers[step.id]
            )
            return "It was not needed." if spared else None
        if step.awaits and all(
            self.effect(self.by_id[other]) is Effect.SKIPPED for other in step.awaits
        ):
            return "Everything it depends on was skipped."
        return None

    # --- starting and waiting -------------------------------------------------------------

    def _start(self, step: PlannedStep, fact: StepFact) -> None:
        fact.status = StepStatus.RUNNING
        self.found.moves.append(Start(step, self.iteration, fact))

    def _wait(self, step: PlannedStep, fact: StepFact, mood: _Mood) -> bool:
        """Look at a waiting step; whether it goes on waiting."""
        if fact.loop is not None:
            return self._loop(step, fact, fact.loop, mood)
        if mood.doomed:
            self._abandon(step, fact)
            return False
        due = fact.polling or (fact.wake_at is not None and fact.wake_at <= self.now)
        if due and fact.sleeping:
            fact.status = StepStatus.RUNNING
            self.found.moves.append(Woken(step, self.iteration))
            return False
        if due and not mood.closed and not mood.holding:
            self._start(step, fact)
            return False
        if not due:
            self.found.due(fact.wake_at)
        return True

    def _abandon(self, step: PlannedStep, fact: StepFact) -> None:
        """Give up a step that is only waiting; one that waits for its next attempt has failed."""
        fact.loop = None
        fact.status = StepStatus.FAILED if fact.failure else StepStatus.CANCELLED
        self.found.moves.append(Abandoned(step, self.iteration))

    def _loop(self, step: PlannedStep, fact: StepFact, loop: LoopFact, mood: _Mood) -> bool:
        """Advance the open items and open new ones; whether the loop goes on."""
        outer_busy, busy = self.found.busy, False
        while True:
            inner = replace(mood, doomed=mood.doomed or loop.failure is not None)
            for index in list(loop.items):
                busy |= self._item(step, loop, index, inner)
            stopped = mood.closed or mood.holding or mood.doomed or loop.failure is not None
            if stopped or not _open_items(loop):
                break
        self.found.busy = busy or outer_busy
        if busy or loop.items:
            return True
        unfinished = loop.completed + loop.failed < loop.each.count
        if loop.failure is None and unfinished:
            if mood.doomed:
                self._abandon(step, fact)
            return not mood.doomed
        fact.status = StepStatus.RUNNING
        fact.loop = None
        self.found.moves.append(LoopOver(step, self.iteration, loop.failure))
        return False

    def _item(self, step: PlannedStep, loop: LoopFact, index: int, mood: _Mood) -> bool:
        """Advance one open item and close it when it is over; whether an activity of it runs."""
        moves_before = len(self.found.moves)
        self.found.busy = False
        scope = _Scope(step.body, loop.items[index], (*self.iteration, index), self.now, self.found)
        end = scope.advance(mood)
        if end is not None:
            _close_item(loop, index, *end)
        elif mood.doomed and not self.found.busy and len(self.found.moves) == moves_before:
            del loop.items[index]
        return self.found.busy


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


def in_flight(plan: Plan, facts: Facts) -> Iterator[tuple[PlannedStep, Iteration, StepFact]]:
    """Every step that is marked as running, wherever it is nested."""
    yield from _in_flight(plan.steps, facts.steps, ())


def _in_flight(
    steps: Sequence[PlannedStep], scope: Scope, iteration: Iteration
) -> Iterator[tuple[PlannedStep, Iteration, StepFact]]:
    for step in steps:
        fact = scope.get(step.id)
        if fact is None:
            continue
        if fact.status is StepStatus.RUNNING:
            yield step, iteration, fact
        for index, inner in fact.loop.items.items() if fact.loop else ():
            yield from _in_flight(step.body, inner, (*iteration, index))
