"""How the facts change when a step answers, fails or is resumed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from engine.errors import Conflict, Invalid, Problem
from engine.facts import OUTCOME_UNKNOWN, Facts, Failure, LoopFact, StepFact
from engine.lifecycle import STEP_TERMINAL, StepStatus
from engine.outcomes import Await, Branch, Done, Each, Outcome, Skip, Sleep
from engine.plan import Plan, PlannedStep

#: Seconds. Nobody can make a run wait longer than this by asking to be left alone.
LONGEST_RETRY_AFTER = 3_600.0


def settle(fact: StepFact, outcome: Outcome) -> None:
    """Take in what the step answered."""
    fact.failure = None
    fact.polling = fact.sleeping = False
    fact.wake_at = fact.until = None
    match outcome:
        case Done():
            fact.status = StepStatus.COMPLETED
        case Skip():
            fact.status = StepStatus.SKIPPED
        case Branch(untaken=untaken):
            fact.status = StepStatus.COMPLETED
            fact.untaken = untaken
        case Each():
            fact.status = StepStatus.WAITING
            fact.loop = LoopFact(each=outcome)
        case Sleep(wake_at=wake_at):
            fact.status = StepStatus.WAITING
            fact.sleeping = True
            fact.wake_at = wake_at
        case Await(interval=interval, until=until):
            fact.status = StepStatus.WAITING
            fact.polling = True
            fact.interval = interval
            fact.until = until
        case _:
            assert_never(outcome)


def fail(step: PlannedStep, fact: StepFact, failure: Failure, now: float) -> None:
    """Take in that an attempt failed: another one is due later, or the step has failed for good."""
    fact.failure = failure
    fact.failures += 1
    fact.polling = fact.sleeping = False
    fact.loop = None
    if step.retry and failure.retryable and fact.failures < step.attempts:
        fact.status = StepStatus.WAITING
        asked = min(failure.retry_after or 0.0, LONGEST_RETRY_AFTER)
        fact.wake_at = now + max(step.retry.pause_after(fact.failures), asked)
    else:
        fact.status = StepStatus.FAILED
        fact.wake_at = None


def ask_again(plan: Plan, facts: Facts, step_id: str, iteration: tuple[int, ...]) -> bool:
    """Have a waiting step asked at once; whether it is being asked, so that this one is let go."""
    for step, loops in plan.walk():
        if step.id == step_id and len(loops) == len(iteration):
            fact = (facts.scope(loops, iteration) or {}).get(step_id)
            if fact is not None and fact.polling and fact.status is StepStatus.RUNNING:
                fact.status = StepStatus.WAITING
                return True
    return False


@dataclass(frozen=True)
class Recorded:
    """What the store knows of a step of the outermost scope.

    Attributes:
        outcome: what the step answered, when it did.
    """

    status: StepStatus
    generation: int = 1
    outcome: Outcome | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Resumption:
    """Where a run goes on.

    Attributes:
        reset: steps that are to run again, with the generation they run in.
    """

    facts: Facts
    reset: dict[str, int]


def resume(
    plan: Plan, recorded: Mapping[str, Recorded], from_step: str | None = None
) -> Resumption:
    """Build the facts of the next execution from what the last one recorded.

    Without `from_step` what is complete keeps its result and everything else runs. With it, that
    step and all downstream of it run again, in a new generation where they had completed; a loop
    always in a new one.

    Raises:
        Invalid: there is no such step in the outermost scope.
        Conflict: what the step depends on has no result.
    """
    by_id = {step.id: step for step in plan.steps}
    if from_step is not None and from_step not in by_id:
        message = f"There is no step '{from_step}' to resume from."
        raise Invalid(message, problems=[Problem(message, step=from_step, path="from_step")])
    if from_step is not None:
        _require_results(by_id[from_step], plan, recorded)
    again = _again(plan, recorded, from_step)
    asked_for = _downstream(plan, from_step) if from_step is not None else set()
    facts = Facts()
    reset: dict[str, int] = {}
    for step in plan.steps:
        past = recorded.get(step.id)
        if past is None:
            continue
        if step.id in again:
            # A loop's items may be others now, and those that completed must not answer for them.
            began = past.status is not StepStatus.SKIPPED
            afresh = bool(step.body) and step.id in asked_for and began
            generation = past.generation + (past.status is StepStatus.COMPLETED or afresh)
            reset[step.id] = generation
            facts.steps[step.id] = StepFact(generation=generation)
            continue
        fact = StepFact(status=past.status, generation=past.generation, failure=past.failure)
        # What was answered before the end came says nothing about the end.
        telling = {StepStatus.COMPLETED: Branch, StepStatus.WAITING: Sleep | Await}
        if past.outcome is not None and isinstance(past.outcome, telling.get(past.status, ())):
            settle(fact, past.outcome)
        facts.steps[step.id] = fact
    return Resumption(facts, reset)


def _require_results(step: PlannedStep, plan: Plan, recorded: Mapping[str, Recorded]) -> None:
    missing = [
        other.id
        for other in plan.steps
        if other.id in step.awaits
        and not (_keeps(other, plan, recorded) and recorded[other.id].status in STEP_TERMINAL)
    ]
    if missing:
        raise Conflict(
            f"Step '{step.id}' cannot be resumed from: it depends on "
            f"{', '.join(repr(other) for other in missing)}, which has no result."
        )


def _downstream(plan: Plan, from_step: str) -> set[str]:
    """The step and everything that awaits it or rescues it, directly or not."""
    found = {from_step}
    while True:
        more = {
            step.id
            for step in plan.steps
            if found.intersection(step.awaits)
            or any(step.id in other.targets for other in plan.steps if other.id in found)
        }
        if more <= found:
            return found
        found |= more


def _again(plan: Plan, recorded: Mapping[str, Recorded], from_step: str | None) -> set[str]:
    """Ids of the steps that are to run (again)."""
    again = {from_step} if from_step is not None else set()
    again |= {
        step.id for step in plan.steps if step.id in recorded and not _keeps(step, plan, recorded)
    }
    spread = from_step is not None or bool(again)
    while spread:
        spread = False
        for step in plan.steps:
            if step.id in again:
                continue
            if _follows(step, plan, recorded, again, from_step):
                again.add(step.id)
                spread = True
    return again


def _keeps(step: PlannedStep, plan: Plan, recorded: Mapping[str, Recorded]) -> bool:
    """Whether what is recorded of a step stands, as a result or as a wait that goes on."""
    past = recorded.get(step.id)
    if past is None:
        return False
    match past.status:
        case StepStatus.COMPLETED | StepStatus.SKIPPED:
            return True
        case StepStatus.WAITING:
            return isinstance(past.outcome, Sleep | Await)
        case StepStatus.FAILED if past.failure and past.failure.code == OUTCOME_UNKNOWN:
            return False
        case StepStatus.FAILED if step.fallback is not None:
            fallback = plan.find(step.fallback)
            return fallback is not None and _keeps(fallback, plan, recorded)
        case StepStatus.FAILED:
            return step.on_error == "continue"
        case _:
            return False


def _follows(
    step: PlannedStep,
    plan: Plan,
    recorded: Mapping[str, Recorded],
    again: set[str],
    from_step: str | None,
) -> bool:
    """Whether the step has to run again because of one that does."""
    rescuers = [other for other in plan.steps if step.id in other.targets]
    if any(other.id in again for other in rescuers):
        return True
    if not any(other in again for other in step.awaits):
        return False
    # A step that completed keeps its result, unless the operator asked for what is downstream.
    past = recorded.get(step.id)
    if from_step is None:
        return past is not None and past.status is StepStatus.SKIPPED
    return True
