"""What the steps of one scope mean for each other: who is ready, who is skipped, what is fatal.

Reads facts and decides nothing that outlives the question; `engine.progress` states the rules and
carries them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from engine.definition import OnError
from engine.facts import OUTCOME_UNKNOWN, Failure, Scope, StepFact
from engine.lifecycle import STEP_TERMINAL, StepStatus
from engine.plan import PlannedStep


def policy(step: PlannedStep, fact: StepFact) -> OnError:
    """What the step's failure leads to: an unknown outcome is an operator's, whatever it says."""
    unknown = fact.failure is not None and fact.failure.code == OUTCOME_UNKNOWN
    return "pause" if unknown else step.on_error


class Effect(Enum):
    """What the end of a step means for the steps that depend on it."""

    OPEN = auto()
    OK = auto()
    SKIPPED = auto()
    HARD = auto()
    HOLD = auto()


@dataclass(frozen=True)
class Mood:
    """What is decided outside of a scope and holds inside it.

    Attributes:
        closed: nothing starts.
        settling: nothing starts yet; what ends comes first.
        holding: nothing starts but catch steps, and waits go on.
        doomed: nothing starts but catch steps, and the waits of others are given up.
        parked: nothing starts but what asks whether a wait is over; what would is told of.
    """

    closed: bool = False
    settling: bool = False
    holding: bool = False
    doomed: bool = False
    parked: bool = False

    @property
    def stops_polls(self) -> bool:
        """Whether polls in flight are to be let go of."""
        return self.closed or self.holding or self.doomed


def holds(steps: Sequence[PlannedStep], scope: Scope) -> bool:
    """Whether a failed step, here or in an open item, waits for an operator."""
    for step in steps:
        fact = scope.get(step.id)
        if fact is None:
            continue
        if fact.status is StepStatus.FAILED and policy(step, fact) == "pause":
            return True
        if fact.loop and any(holds(step.body, inner) for inner in fact.loop.items.values()):
            return True
    return False


class Standing:
    """One DAG with its facts: the whole run, or the body of a loop for one item."""

    def __init__(self, steps: Sequence[PlannedStep], facts: Scope, generation: int) -> None:
        self.steps = steps
        self.facts = facts
        self.generation = generation
        self.by_id = {step.id: step for step in steps}
        self.triggers: dict[str, list[PlannedStep]] = {}
        for step in steps:
            for target in step.targets:
                self.triggers.setdefault(target, []).append(step)

    def fact(self, step_id: str) -> StepFact:
        """The step's fact, made when it is first looked at."""
        fact = self.facts.get(step_id)
        if fact is None:
            fact = self.facts[step_id] = StepFact(generation=self.generation)
        return fact

    def failure_of(self, step: PlannedStep) -> Failure | None:
        """Why the scope fails: the fallback's own failure where there is one."""
        fallback = step.fallback if step.on_error == "fallback" else None
        failure = self.fact(fallback).failure if fallback else None
        return failure or self.fact(step.id).failure

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
        match policy(step, self.fact(step.id)):
            case "continue":
                return Effect.OK
            case "pause":
                return Effect.HOLD
            case "fallback" if step.fallback:
                return self.effect(self.by_id[step.fallback])
            case _:
                return Effect.HARD

    def halting(self) -> PlannedStep | None:
        """The first step whose failure fails this scope."""
        for step in self.steps:
            if self.fact(step.id).status is not StepStatus.FAILED:
                continue
            on_error = policy(step, self.fact(step.id))
            if on_error in ("fail", "retry"):
                return step
            if on_error == "fallback" and self._effect_of_failure(step) is Effect.HARD:
                return step
        return None

    def ready(self, step: PlannedStep, mood: Mood) -> bool:
        """Whether a pending step may start; the rules are those of `engine.progress`."""
        if mood.closed or mood.settling:
            return False
        if step.id in self.triggers:
            only_catches = mood.doomed or mood.holding
            return (self.catches(step) if only_catches else self._armed(step)) and (
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

    def catches(self, target: PlannedStep) -> bool:
        """Whether a step that names this one as its catch has failed for good."""
        return any(
            trigger.catch == target.id and self.fact(trigger.id).status is StepStatus.FAILED
            for trigger in self.triggers.get(target.id, ())
        )

    def _armed(self, target: PlannedStep) -> bool:
        """Whether a step that names this one as catch or fallback has failed for good."""
        return self.catches(target) or any(
            trigger.fallback == target.id
            and self.fact(trigger.id).status is StepStatus.FAILED
            and policy(trigger, self.fact(trigger.id)) == "fallback"
            and (trigger.catch is None or self.fact(trigger.catch).status in STEP_TERMINAL)
            for trigger in self.triggers[target.id]
        )

    def reason_to_skip(self, step: PlannedStep) -> str | None:
        """Why a pending step will never run; None while that is open."""
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
