"""A run without Temporal: takes every move, and lets chance decide what the steps answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from engine.facts import Facts, Failure, StepFact
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
from engine.outcomes import Await, Branch, Done, Each, Outcome, Skip, Sleep
from engine.parking import park_at
from engine.plan import Plan, PlannedStep, compile_plan
from engine.progress import advance
from engine.settle import Recorded, fail, settle
from engine.validation import check
from tests.unit.language import CATALOG, condition, http, loop, wait

Key = tuple[str, Iteration]
#: More turns than any run of the tests can need.
MAX_TURNS = 3_000


@dataclass
class Simulation:
    """One execution.

    Attributes:
        interrupting: now and then nothing may start, for a pause or for draining, or because the
            run has given its place back.
        failing: how probable it is that an attempt fails.
        copying: facts go through JSON before every turn, as in continue-as-new.
        flight: what is running, in the order of its start.
        log: the moves and answers, as text.
        answers: what the steps of the outermost scope answered last.
        targets: the branch targets of each condition, for both sides.
    """

    plan: Plan
    chance: Random
    targets: Mapping[str, tuple[list[str], list[str]]]
    facts: Facts = field(default_factory=Facts)
    copying: bool = False
    interrupting: bool = False
    failing: float = 0.3
    now: float = 0.0
    flight: dict[Key, Start | LoopOver] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    answers: dict[str, Outcome] = field(default_factory=dict)
    parked: int = 0

    def run(self) -> Advance:
        """Go on until there is a verdict; a pause that an operator asked for is lifted."""
        loops = {step.id: around for step, around in self.plan.walk()}
        for _ in range(MAX_TURNS):
            if self.copying:
                text = self.facts.model_dump_json(exclude_defaults=True)
                self.facts = Facts.model_validate_json(text)
            found = self._turn(draining=self.interrupting and self.chance.random() < 0.2)
            if found.verdict is Verdict.PAUSED and self.facts.pausing:
                self.facts.pausing = False
            elif found.verdict is not None:
                assert not self.flight, "the run ended with work in flight"
                return found
            elif self.flight:
                self._answer(self.chance.choice(list(self.flight)), loops)
            elif found.wake_at is not None:
                self.now = max(self.now, found.wake_at)
            self._place(found)
            self.facts.pausing |= self.interrupting and self.chance.random() < 0.1
        raise AssertionError("the run does not end")

    def _place(self, found: Advance) -> None:
        """Give the place back, or find one again; the run may have to wait for that."""
        if found.wanting:
            idle = not self.flight and found.wake_at is None
            self.facts.parked = not idle and self.chance.random() < 0.5
        elif self.interrupting and park_at(self.facts, self.now, self.now) is not None:
            self.facts.parked |= self.chance.random() < 0.5
            self.parked += self.facts.parked

    def _turn(self, *, draining: bool) -> Advance:
        """Ask until no moves come: the second time, unless a step that woke up let others go."""
        closed = draining or self.facts.pausing
        woken = True
        while True:
            found = advance(self.plan, self.facts, self.now, draining=draining)
            if not found.moves:
                assert found.busy == bool(self.flight)
                return found
            assert woken, "asked again, it answers something new"
            woken = any(isinstance(move, Woken) for move in found.moves)
            for move in found.moves:
                self.log.append(f"{type(move).__name__} {move.step.id} {move.iteration}")
                self._take(move, closed=closed)

    def _take(self, move: Any, *, closed: bool) -> None:
        key = (move.step.id, move.iteration)
        match move:
            case Start():
                assert not closed, "started while nothing may start"
                assert key not in self.flight, "started twice"
                assert move.fact.polling or not self.facts.parked, "started without a place"
                self._check_start(move)
                self.flight[key] = move
                self.started.append(move.step.id)
            case LoopOver():
                assert key not in self.flight
                self.flight[key] = move
            case Woken():
                settle(move.fact, Done())
            case Suspended():
                del self.flight[key]
            case Abandoned():
                self.flight.pop(key, None)
                assert move.fact.status in (StepStatus.FAILED, StepStatus.CANCELLED)
            case Skipped():
                assert key not in self.flight
                assert move.fact.status is StepStatus.SKIPPED

    def _check_start(self, move: Start) -> None:
        """What a step waits for is over; a catch or fallback step has a reason to run."""
        loops = next(around for step, around in self.plan.walk() if step.id == move.step.id)
        scope = self.facts.scope(loops, move.iteration)
        assert scope is not None
        assert scope[move.step.id] is move.fact
        siblings = self.plan.find(loops[-1]).body if loops else self.plan.steps  # type: ignore[union-attr]  # it is a loop of the plan
        namers = [other.id for other in siblings if move.step.id in other.targets]
        if namers:
            assert any(scope[other].status is StepStatus.FAILED for other in namers)
            return
        assert all(scope[other].status in STEP_TERMINAL for other in move.step.awaits)
        assert not any(move.step.id in scope[gate].untaken for gate in move.step.gates)

    def _answer(self, key: Key, loops: Mapping[str, tuple[str, ...]]) -> None:
        """Let something that is in flight answer or fail."""
        move = self.flight.pop(key)
        scope = self.facts.scope(loops[key[0]], key[1])
        assert scope is not None, "the facts of a running step are gone"
        fact = scope[key[0]]
        assert fact.status is StepStatus.RUNNING
        failure: Failure | None = None
        outcome: Outcome = Done()
        if isinstance(move, LoopOver):
            failure = move.failure
        elif self.chance.random() < self.failing:
            failure = Failure(code="bad", message="bad", retryable=self.chance.random() < 0.8)
        else:
            outcome = self._outcome(move.step, fact)
        self.log.append(f"{key} {failure.code if failure else outcome.kind}")
        if failure is not None:
            fail(move.step, fact, failure, self.now)
        else:
            settle(fact, outcome)
            if not key[1]:
                self.answers[key[0]] = outcome

    def _outcome(self, step: PlannedStep, fact: StepFact) -> Outcome:
        if step.id in self.targets:
            return Branch(untaken=self.chance.choice(self.targets[step.id]))
        if step.body:
            return Each(
                count=self.chance.randrange(4),
                concurrency=self.chance.randint(1, 3),
                on_item_error=self.chance.choice(["fail", "continue"]),
            )
        if step.type == "wait" and not fact.polling:
            at = self.now + self.chance.randrange(20)
            return self.chance.choice([Sleep(wake_at=at), Await(interval=1, until=at)])
        return Skip() if self.chance.random() < 0.15 else Done()

    def recorded(self) -> dict[str, Recorded]:
        """What a store would know of the outermost scope."""
        return {
            step_id: Recorded(fact.status, fact.generation, self.answers.get(step_id), fact.failure)
            for step_id, fact in self.facts.steps.items()
            if fact.status is not StepStatus.PENDING
        }


def random_plan(chance: Random) -> tuple[Plan, dict[str, tuple[list[str], list[str]]]]:
    """A valid plan and the branch targets of its conditions."""
    count = iter(range(1_000))
    while True:
        steps = _steps(chance, count, chance.randint(1, 8), depth=0)
        definition = check({"name": "w", "steps": steps}, CATALOG).definition
        if definition is not None:
            break
    plan = compile_plan(definition, CATALOG)
    targets: dict[str, tuple[list[str], list[str]]] = {}
    _collect(steps, targets)
    return plan, targets


def plan_ids(plan: Plan) -> list[str]:
    """The ids of all steps, wherever they are nested."""
    return [step.id for step, _ in plan.walk()]


def _collect(steps: list[Any], targets: dict[str, tuple[list[str], list[str]]]) -> None:
    for step in steps:
        if step["type"] == "condition":
            targets[step["id"]] = (step["config"]["then"], step["config"]["else"])
        if step["type"] == "loop":
            _collect(step["config"]["steps"], targets)


def _steps(chance: Random, count: Any, size: int, depth: int) -> list[Any]:
    """Steps whose links lead forwards, in any order; catch and fallback may still make cycles."""
    ids = [f"s{next(count)}" for _ in range(size)]
    steps = []
    for index, step_id in enumerate(ids):
        later = ids[index + 1 :]
        kind = chance.random()
        if kind < 0.2:
            chosen = chance.sample(later, min(len(later), chance.randrange(3)))
            step = condition(step_id, chosen[:1], chosen[1:])
        elif kind < 0.35 and depth < 2:
            body = _steps(chance, count, chance.randint(1, 4), depth + 1)
            step = loop(step_id, *body)
        elif kind < 0.5:
            step = wait(step_id, "input.ok")
        else:
            step = http(step_id)
        step["depends_on"] = chance.sample(ids[:index], min(index, chance.choice([0, 1, 1, 2])))
        step["on_error"] = chance.choice(
            ["fail", "continue", "continue", "retry", "pause", *(["fallback"] * 2 if later else [])]
        )
        if step["on_error"] == "fallback":
            step["fallback_step"] = chance.choice(later)
        if later and chance.random() < 0.3:
            step["catch_step"] = chance.choice(later)
        if chance.random() < 0.3:
            step["retry"] = {"max_attempts": chance.randint(1, 3), "delay": chance.randrange(10)}
        step["enabled"] = chance.random() < 0.92
        steps.append(step)
    chance.shuffle(steps)
    return steps
