"""How facts change: answers, failures, and where a run goes on."""

import pytest

from engine.definition import Definition, Retry
from engine.errors import Conflict, Invalid
from engine.facts import Facts, Failure, LoopFact, StepFact
from engine.lifecycle import StepStatus
from engine.outcomes import Await, Branch, Done, Each, Outcome, Skip, Sleep
from engine.plan import Plan, PlannedStep, compile_plan
from engine.settle import LONGEST_RETRY_AFTER, Recorded, fail, resume, settle
from tests.unit.language import CATALOG, condition, http, loop, wait

BAD = Failure(code="bad", message="bad")
DONE = Recorded(StepStatus.COMPLETED, outcome=Done())
SKIPPED = Recorded(StepStatus.SKIPPED)
FAILED = Recorded(StepStatus.FAILED, failure=BAD)
CANCELLED = Recorded(StepStatus.CANCELLED)
RUNNING = Recorded(StepStatus.RUNNING)


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Done(), StepFact(status=StepStatus.COMPLETED)),
        (Skip(), StepFact(status=StepStatus.SKIPPED)),
        (Branch(untaken=["a"]), StepFact(status=StepStatus.COMPLETED, untaken=["a"])),
        (Each(count=2), StepFact(status=StepStatus.WAITING, loop=LoopFact(each=Each(count=2)))),
        (Sleep(wake_at=7), StepFact(status=StepStatus.WAITING, sleeping=True, wake_at=7)),
        (
            Await(interval=3, until=9),
            StepFact(status=StepStatus.WAITING, polling=True, interval=3, until=9),
        ),
    ],
)
def test_what_an_answer_means(outcome: Outcome, expected: StepFact) -> None:
    fresh = StepFact(status=StepStatus.RUNNING)
    settle(fresh, outcome)
    assert fresh == expected
    stale = StepFact(
        status=StepStatus.RUNNING, failure=BAD, wake_at=1, sleeping=True, polling=True, interval=3
    )
    settle(stale, outcome)
    stale.interval = expected.interval
    assert stale == expected


# --- failures -----------------------------------------------------------------------------------


def test_an_attempt_that_failed_is_made_again_later_and_its_budget_ends() -> None:
    step = PlannedStep(
        id="a", type="x", retry=Retry(max_attempts=3, delay=2, backoff="exponential")
    )
    fact = StepFact(status=StepStatus.RUNNING)
    due = []
    for _ in range(3):
        fail(step, fact, BAD, 100)
        due.append((fact.status, fact.failures, fact.wake_at))
    assert due == [
        (StepStatus.WAITING, 1, 102),
        (StepStatus.WAITING, 2, 104),
        (StepStatus.FAILED, 3, None),
    ]
    assert fact.failure == BAD


@pytest.mark.parametrize(
    ("asked", "due"), [(None, 102), (0.5, 102), (30, 130), (10 * LONGEST_RETRY_AFTER, 3_700)]
)
def test_a_retry_waits_as_long_as_it_was_asked_to(asked: float | None, due: float) -> None:
    fact = StepFact(status=StepStatus.RUNNING)
    busy = BAD.model_copy(update={"retry_after": asked})
    fail(PlannedStep(id="a", type="x", retry=Retry(delay=2)), fact, busy, 100)
    assert (fact.status, fact.wake_at) == (StepStatus.WAITING, due)


def test_a_failure_ends_a_poll_and_a_loop() -> None:
    fact = StepFact(
        status=StepStatus.RUNNING, polling=True, loop=LoopFact(each=Each(count=1)), wake_at=3
    )
    fail(PlannedStep(id="a", type="x"), fact, BAD, 0)
    assert fact == StepFact(status=StepStatus.FAILED, failures=1, failure=BAD)


def test_a_failure_that_cannot_be_helped_is_not_retried() -> None:
    fact = StepFact(status=StepStatus.RUNNING)
    final = BAD.model_copy(update={"retryable": False})
    fail(PlannedStep(id="a", type="x", retry=Retry()), fact, final, 0)
    assert fact.status is StepStatus.FAILED


# --- resuming -----------------------------------------------------------------------------------


def plan(*steps: object) -> Plan:
    return compile_plan(Definition.model_validate({"name": "w", "steps": steps}), CATALOG)


CHAIN = plan(http("a"), http("b", "a"), http("c", "b"), http("d", "a"))


def test_what_is_complete_keeps_its_result_and_the_rest_runs() -> None:
    found = resume(CHAIN, {"a": DONE, "b": FAILED, "d": DONE})
    assert found.reset == {"b": 1}
    assert {key: fact.status for key, fact in found.facts.steps.items()} == {
        "a": StepStatus.COMPLETED,
        "b": StepStatus.PENDING,
        "d": StepStatus.COMPLETED,
    }
    assert found.facts.steps["b"] == StepFact()


@pytest.mark.parametrize("past", [CANCELLED, RUNNING, Recorded(StepStatus.WAITING)])
def test_what_was_interrupted_runs_again_under_the_same_key(past: Recorded) -> None:
    past = Recorded(past.status, generation=4)
    assert resume(CHAIN, {"a": past}).reset == {"a": 4}


def test_a_wait_goes_on_where_it_was() -> None:
    waits = plan(wait("s", "input.ok"), wait("p", "input.ok"))
    facts = resume(
        waits,
        {
            "s": Recorded(StepStatus.WAITING, outcome=Sleep(wake_at=7)),
            "p": Recorded(StepStatus.WAITING, outcome=Await(interval=3, until=9)),
        },
    ).facts
    assert (facts.steps["s"].sleeping, facts.steps["s"].wake_at) == (True, 7)
    assert (facts.steps["p"].polling, facts.steps["p"].interval) == (True, 3)


def test_what_is_over_is_not_taken_up_again() -> None:
    waits = plan(
        wait("s", "input.ok"),
        {**wait("p", "input.ok"), "on_error": "continue"},
        condition("c", ["p"], on_error="continue"),
    )
    facts = resume(
        waits,
        {
            "s": Recorded(StepStatus.COMPLETED, outcome=Sleep(wake_at=7)),
            "p": Recorded(StepStatus.FAILED, outcome=Await(interval=3, until=9), failure=BAD),
            "c": Recorded(StepStatus.FAILED, outcome=Branch(untaken=["p"]), failure=BAD),
        },
    ).facts
    assert facts.steps["c"] == StepFact(status=StepStatus.FAILED, failure=BAD)
    assert facts.steps["s"] == StepFact(status=StepStatus.COMPLETED)
    assert facts.steps["p"] == StepFact(status=StepStatus.FAILED, failure=BAD)


def test_a_branch_that_was_taken_stays_taken() -> None:
    gated = plan(condition("c", ["a"], ["b"]), http("a"), http("b"))
    past = Recorded(StepStatus.COMPLETED, outcome=Branch(untaken=["b"]))
    found = resume(gated, {"c": past, "a": FAILED, "b": SKIPPED})
    assert found.reset == {"a": 1}
    assert found.facts.steps["c"].untaken == ["b"]


def test_a_failure_that_was_provided_for_stands() -> None:
    tolerant = plan(http("a", on_error="continue"), http("b", "a"), http("c", "b"))
    assert resume(tolerant, {"a": FAILED, "b": DONE, "c": FAILED}).reset == {"c": 1}
    stand_in = plan(
        http("a", on_error="fallback", fallback_step="f"),
        http("f", on_error="fallback", fallback_step="g"),
        http("g"),
        http("b", "a"),
    )
    rescued = {"a": FAILED, "f": FAILED, "g": DONE, "b": FAILED}
    assert resume(stand_in, rescued).reset == {"b": 1}


def test_a_failed_fallback_makes_its_step_run_again() -> None:
    stand_in = plan(http("a", on_error="fallback", fallback_step="f"), http("f"))
    assert resume(stand_in, {"a": FAILED, "f": FAILED}).reset == {"a": 1, "f": 1}
    tolerant = plan(
        http("a", on_error="fallback", fallback_step="f"),
        http("f", on_error="continue"),
        http("b", "a"),
    )
    assert resume(tolerant, {"a": FAILED, "f": FAILED, "b": FAILED}).reset == {"b": 1}


def test_what_was_skipped_behind_a_step_that_runs_again_is_asked_again() -> None:
    rescued = plan(http("a", catch_step="c"), http("b", "a"), http("c"), http("d", "c"))
    past = {"a": CANCELLED, "c": SKIPPED, "d": SKIPPED}
    assert resume(rescued, past).reset == {"a": 1, "c": 1, "d": 1}


def test_from_a_step_it_and_all_behind_it_run_in_a_new_generation() -> None:
    past = {"a": DONE, "b": DONE, "c": SKIPPED, "d": DONE}
    found = resume(CHAIN, past, "b")
    assert found.reset == {"b": 2, "c": 1}
    assert found.facts.steps["a"].status is StepStatus.COMPLETED
    assert resume(CHAIN, past, "a").reset == {"a": 2, "b": 2, "c": 1, "d": 2}


def test_from_a_condition_its_targets_run_again() -> None:
    gated = plan(condition("c", ["a"], ["b"]), http("a"), http("b"), http("x"))
    past = Recorded(StepStatus.COMPLETED, outcome=Branch(untaken=["b"]))
    found = resume(gated, {"c": past, "a": DONE, "b": SKIPPED, "x": DONE}, "c")
    assert found.reset == {"c": 2, "a": 2, "b": 1}
    assert found.facts.steps["c"].untaken == []


def test_an_unknown_step_is_refused_also_inside_a_loop() -> None:
    with pytest.raises(Invalid) as caught:
        resume(CHAIN, {}, "nope")
    assert caught.value.problems[0].path == "from_step"
    with pytest.raises(Invalid):
        resume(plan(loop("l", http("inner"))), {"l": DONE}, "inner")


@pytest.mark.parametrize("past", [None, FAILED, CANCELLED, RUNNING])
def test_a_step_cannot_be_resumed_from_before_what_it_depends_on(past: Recorded | None) -> None:
    with pytest.raises(Conflict, match="'b' cannot be resumed from: it depends on 'a'"):
        resume(CHAIN, {"a": past} if past else {}, "b")


def test_a_tolerated_failure_counts_as_a_result() -> None:
    tolerant = plan(http("a", on_error="continue"), http("b", "a"))
    assert resume(tolerant, {"a": FAILED, "b": DONE}, "b").reset == {"b": 2}


def test_facts_in_the_middle_of_everything_survive_json() -> None:
    scope = {
        "l": StepFact(
            status=StepStatus.WAITING,
            loop=LoopFact(each=Each(count=3), next=2, items={0: {}, 1: {"a": StepFact()}}),
        ),
        "f": StepFact(status=StepStatus.FAILED, failure=BAD, failures=2),
    }
    facts = Facts(steps=scope, pausing=True)
    assert Facts.model_validate_json(facts.model_dump_json(exclude_defaults=True)) == facts


def test_a_loop_downstream_of_the_step_runs_in_a_new_generation() -> None:
    """Its items may be others now: what completed for the old ones must not answer for them."""
    recorded = {
        "list": DONE,
        "l": Recorded(StepStatus.FAILED, failure=Failure(code="bad", message="bad")),
    }
    made = plan(http("list"), loop("l", http("inner"), depends_on=["list"]))
    assert resume(made, recorded, "list").reset == {"list": 2, "l": 2}
    assert resume(made, recorded).reset == {"l": 1}
