"""Progress, whatever the plan and whatever the steps answer: every run ends, and ends rightly."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.facts import Facts
from engine.lifecycle import STEP_TERMINAL, StepStatus
from engine.moves import Verdict
from engine.plan import Plan, PlannedStep
from engine.settle import resume
from engine.standing import holds
from tests.unit.simulation import Simulation, plan_ids, random_plan

seeds = st.integers(min_value=0, max_value=2**32)
many = settings(max_examples=150)


def fatal(step: PlannedStep, plan: Plan, facts: Facts) -> bool:
    """Whether how a step of the outermost scope ended fails the run, from the final facts alone."""
    status = facts.steps[step.id].status
    if status is not StepStatus.FAILED:
        return status is StepStatus.CANCELLED
    if step.fallback is not None:
        fallback = plan.find(step.fallback)
        assert fallback is not None
        return fatal(fallback, plan, facts)
    return step.on_error not in ("continue", "pause")


def simulation(seed: int, *, copying: bool = False, interrupting: bool = False) -> Simulation:
    chance = Random(seed)
    plan, targets = random_plan(chance)
    failing = chance.choice([0.1, 0.3, 0.6])
    return Simulation(
        plan, chance, targets, copying=copying, interrupting=interrupting, failing=failing
    )


@given(seeds, st.booleans())
@many
def test_every_run_ends_and_fails_exactly_after_a_hard_failure(seed: int, interrupt: bool) -> None:
    run = simulation(seed, interrupting=interrupt)
    found = run.run()
    hard = [step.id for step in run.plan.steps if fatal(step, run.plan, run.facts)]
    held = holds(run.plan.steps, run.facts.steps)
    match found.verdict:
        case Verdict.FAILED:
            assert hard
            assert found.failure is not None
            assert found.failure.code == "bad"
        case Verdict.COMPLETED:
            assert (hard, held) == ([], False)
            assert all(fact.status in STEP_TERMINAL for fact in run.facts.steps.values())
        case _:
            # Also where a catch step of a failing run has come to a step that waits for somebody.
            assert held


@given(seeds, st.booleans())
@many
def test_every_catch_step_has_had_its_turn(seed: int, interrupt: bool) -> None:
    run = simulation(seed, interrupting=interrupt)
    if run.run().verdict is Verdict.PAUSED:
        return
    for step in run.plan.steps:
        if step.catch and run.facts.steps[step.id].status is StepStatus.FAILED:
            catch = run.facts.steps[step.catch].status
            assert catch in (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED)


@given(seeds, st.booleans())
@many
def test_facts_that_travel_as_json_lead_to_the_same_end(seed: int, interrupt: bool) -> None:
    stays = simulation(seed, interrupting=interrupt)
    travels = simulation(seed, interrupting=interrupt, copying=True)
    assert stays.run().verdict is travels.run().verdict
    assert stays.log == travels.log
    assert stays.facts == travels.facts


@given(seeds)
@many
def test_a_resumed_run_keeps_what_is_complete_and_ends(seed: int) -> None:
    first = simulation(seed)
    if first.run().verdict is Verdict.COMPLETED:
        return
    recorded = first.recorded()
    resumption = resume(first.plan, recorded)
    second = Simulation(first.plan, first.chance, first.targets, resumption.facts, failing=0)
    assert second.run().verdict is Verdict.COMPLETED
    rescuers = {target for step in first.plan.steps for target in step.targets}
    for step_id, past in recorded.items():
        if past.status is StepStatus.COMPLETED and step_id not in rescuers:
            assert step_id not in second.started
            assert step_id not in resumption.reset
            assert second.facts.steps[step_id].generation == past.generation


@given(seeds)
@many
def test_from_a_step_it_and_what_follows_run_again_and_nothing_else(seed: int) -> None:
    first = simulation(seed)
    first.failing = 0
    assert first.run().verdict is Verdict.COMPLETED
    top = [step.id for step in first.plan.steps]
    start = first.chance.choice(top)
    again = {start}
    for _ in top:
        again |= {step.id for step in first.plan.steps if again & {*step.awaits}}
        again |= {
            target for step in first.plan.steps if step.id in again for target in step.targets
        }
    recorded = first.recorded()
    resumption = resume(first.plan, recorded, start)
    assert set(resumption.reset) == again
    for step_id, generation in resumption.reset.items():
        completed = recorded[step_id].status is StepStatus.COMPLETED
        assert generation == recorded[step_id].generation + completed
    second = Simulation(first.plan, first.chance, first.targets, resumption.facts, failing=0)
    assert second.run().verdict is Verdict.COMPLETED
    assert {step_id for step_id in second.started if step_id in top} <= again


def test_the_random_runs_give_their_places_back() -> None:
    runs = [simulation(seed, interrupting=True) for seed in range(200)]
    for run in runs:
        run.run()
    assert sum(run.parked > 0 for run in runs) > 20


def test_the_random_plans_have_everything_in_them() -> None:
    plans = [random_plan(Random(seed))[0] for seed in range(200)]
    steps = [step for plan in plans for step, _ in plan.walk()]
    assert max(len(plan_ids(plan)) for plan in plans) > 10
    for has in ("body", "gates", "fallback", "catch", "retry", "depends_on"):
        assert sum(bool(getattr(step, has)) for step in steps) > 30, has
    assert any(around[1:] for plan in plans for _, around in plan.walk())
