"""Progress, rule by rule: small plans, and what happens to them turn by turn."""

from engine.facts import Failure
from engine.lifecycle import StepStatus
from engine.moves import Verdict
from engine.outcomes import Await, Branch, Done, Each, Skip, Sleep
from engine.settle import fail, settle
from tests.unit.driven import Run
from tests.unit.language import condition, http, loop, wait

# --- joins and skips ----------------------------------------------------------------------------


def test_roots_start_together_and_a_join_waits_for_all() -> None:
    run = Run(http("a"), http("b"), http("c", "a", "b"))
    assert run.go() == ["start a", "start b"]
    assert run.done("a") == []
    assert run.last.busy
    assert run.done("b") == ["start c"]
    assert run.done("c") == []
    assert run.verdict is Verdict.COMPLETED


def test_a_join_runs_if_at_least_one_completed() -> None:
    run = Run(http("a"), http("b"), http("c", "a", "b"))
    run.go()
    run.done("a", Skip())
    assert run.done("b") == ["start c"]


def test_skipping_spreads_against_the_order_written() -> None:
    run = Run(http("d", "c"), http("c", "b"), http("b", "a"), http("a"))
    run.go()
    assert run.done("a", Skip()) == ["skip b", "skip c", "skip d"]
    assert run.verdict is Verdict.COMPLETED


def test_a_disabled_step_is_skipped() -> None:
    run = Run(http("a", enabled=False), http("b", "a"), http("c"))
    assert run.go() == ["skip a", "skip b", "start c"]


# --- branches -----------------------------------------------------------------------------------


def branched() -> Run:
    run = Run(condition("c", ["a"], ["b"]), http("a"), http("b"), http("join", "a", "b"))
    assert run.go() == ["start c"]
    return run


def test_one_branch_is_taken_and_a_join_goes_on_after_it() -> None:
    run = branched()
    assert run.done("c", Branch(untaken=["b"])) == ["skip b", "start a"]
    assert run.done("a") == ["start join"]


def test_a_condition_that_did_not_complete_lets_nobody_through() -> None:
    run = branched()
    assert run.done("c", Skip()) == ["skip a", "skip b", "skip join"]
    tolerant = Run(condition("c", ["a"], on_error="continue"), http("a"))
    tolerant.go()
    assert tolerant.fails("c") == ["skip a"]
    assert tolerant.verdict is Verdict.COMPLETED


def test_a_target_waits_for_its_condition_and_for_what_it_depends_on() -> None:
    run = Run(condition("c", ["a"]), http("a", "x"), http("x"))
    run.go()
    assert run.done("c", Branch()) == []
    assert run.done("x") == ["start a"]


# --- failures -----------------------------------------------------------------------------------


def test_after_a_hard_failure_nothing_starts_and_what_runs_finishes() -> None:
    run = Run(http("a"), http("b"), http("c", "b"))
    run.go()
    assert run.fails("a") == []
    assert (run.verdict, run.last.busy) == (None, True)
    assert run.done("b") == []
    assert run.verdict is Verdict.FAILED
    assert run.last.failure == Failure(code="bad", message="bad")
    assert run.statuses() == "a:failed b:completed c:pending"


def test_with_continue_dependents_go_on() -> None:
    run = Run(http("a", on_error="continue"), http("b", "a"))
    run.go()
    assert run.fails("a") == ["start b"]
    run.done("b")
    assert run.verdict is Verdict.COMPLETED


def test_a_catch_step_runs_and_the_run_fails_all_the_same() -> None:
    run = Run(http("a", catch_step="c"), http("b", "a"), http("c"))
    assert run.go() == ["start a"]
    assert run.fails("a") == ["start c"]
    run.done("c")
    assert run.verdict is Verdict.FAILED


def test_a_catch_step_that_was_not_needed_is_skipped() -> None:
    run = Run(http("a", catch_step="c"), http("b", catch_step="c"), http("c"), http("d", "c"))
    assert run.go() == ["start a", "start b"]
    assert run.done("a") == []
    assert run.done("b") == ["skip c", "skip d"]
    assert run.verdict is Verdict.COMPLETED


def test_dependents_go_on_only_after_the_catch_step() -> None:
    run = Run(http("a", on_error="continue", catch_step="c"), http("b", "a"), http("c"))
    run.go()
    assert run.fails("a") == ["start c"]
    assert run.done("c") == ["start b"]


def test_a_catch_step_keeps_its_retries_waits_and_items_while_the_run_fails() -> None:
    run = Run(http("a", catch_step="c"), http("c", retry={"delay": 9}))
    run.go()
    run.fails("a")
    assert run.fails("c") == []
    assert (run.verdict, run.last.wake_at) == (None, 9)
    run.now = 9
    assert run.go() == ["start c"]
    run.done("c")
    assert run.verdict is Verdict.FAILED

    looping = Run(http("a", catch_step="l"), loop("l", http("b")))
    looping.go()
    assert looping.fails("a") == ["start l"]
    assert looping.done("l", Each(count=1)) == ["start b@0"]
    assert looping.done("b@0") == ["over l"]

    polling = Run(http("a", catch_step="w"), wait("w", "input.ok"))
    polling.go()
    assert polling.fails("a") == ["start w"]
    assert polling.done("w", Await(interval=1, until=9)) == ["start w"]
    assert polling.go() == []
    assert polling.last.busy


def test_a_fallback_stands_in_for_the_step() -> None:
    run = Run(http("a", on_error="fallback", fallback_step="f"), http("f"), http("b", "a"))
    assert run.go() == ["start a"]
    assert run.fails("a") == ["start f"]
    assert run.done("f") == ["start b"]
    run.done("b")
    assert run.verdict is Verdict.COMPLETED
    assert run.statuses() == "a:failed b:completed f:completed"


def test_a_fallback_that_fails_fails_the_run_with_its_own_reason() -> None:
    run = Run(http("a", on_error="fallback", fallback_step="f"), http("f"), http("b", "a"))
    run.go()
    run.fails("a", code="first")
    assert run.fails("f", code="second") == []
    assert run.verdict is Verdict.FAILED
    assert run.last.failure is not None
    assert run.last.failure.code == "second"


def test_fallbacks_may_be_chained_and_a_skipped_one_skips_dependents() -> None:
    chained = Run(
        http("a", on_error="fallback", fallback_step="f"),
        http("f", on_error="fallback", fallback_step="g"),
        http("g"),
        http("b", "a"),
    )
    chained.go()
    assert chained.fails("a") == ["start f"]
    assert chained.fails("f") == ["start g"]
    assert chained.done("g") == ["start b"]

    skipped = Run(http("a", on_error="fallback", fallback_step="f"), http("f"), http("b", "a"))
    skipped.go()
    skipped.fails("a")
    assert skipped.done("f", Skip()) == ["skip b"]
    assert skipped.verdict is Verdict.COMPLETED


def test_the_catch_step_comes_before_the_fallback_step() -> None:
    run = Run(
        http("a", on_error="fallback", fallback_step="f", catch_step="c"), http("c"), http("f")
    )
    run.go()
    assert run.fails("a") == ["start c"]
    assert run.done("c") == ["start f"]


def test_no_fallback_starts_once_the_run_is_failing() -> None:
    run = Run(http("a", on_error="fallback", fallback_step="f"), http("b"), http("f"))
    run.go()
    run.fails("b")
    assert run.fails("a") == []
    assert run.verdict is Verdict.FAILED
    assert run.facts.steps["f"].status is StepStatus.PENDING


# --- retries and waits --------------------------------------------------------------------------


def test_a_retry_is_due_after_its_delay_and_the_budget_is_finite() -> None:
    run = Run(http("a", retry={"max_attempts": 2, "delay": 5}))
    run.go()
    assert run.fails("a") == []
    assert (run.verdict, run.last.wake_at, run.last.busy) == (None, 5, False)
    run.now = 4.9
    assert run.go() == []
    run.now = 5
    assert run.go() == ["start a"]
    assert run.fails("a") == []
    assert run.verdict is Verdict.FAILED


def test_a_failure_that_trying_again_cannot_help_is_final() -> None:
    run = Run(http("a", retry={"max_attempts": 9}))
    run.go()
    run.fails("a", retryable=False)
    assert run.verdict is Verdict.FAILED


def test_the_catch_step_runs_only_when_no_attempt_is_left() -> None:
    run = Run(http("a", retry={"max_attempts": 2, "delay": 0}, catch_step="c"), http("c"))
    run.go()
    assert run.fails("a") == ["start a"]
    assert run.fails("a") == ["start c"]


def test_a_sleep_wakes_by_itself_and_the_earliest_time_counts() -> None:
    run = Run(wait("a", "input.ok"), wait("b", "input.ok"), http("c", "a"))
    run.go()
    run.done("a", Sleep(wake_at=50))
    run.done("b", Sleep(wake_at=20))
    assert (run.last.wake_at, run.last.busy) == (20, False)
    run.now = 20
    assert run.go() == ["wake b"]
    assert run.last.wake_at == 50
    run.now = 60
    assert run.go() == ["wake a", "start c"]


def test_waits_are_given_up_when_the_run_fails() -> None:
    run = Run(
        wait("a", "input.ok"), http("b", retry={"delay": 60}), wait("p", "input.ok"), http("c")
    )
    run.go()
    run.done("a", Sleep(wake_at=1e9))
    run.fails("b")
    assert run.done("p", Await(interval=5, until=1e9)) == ["start p"]
    assert run.fails("c") == ["abandon a", "abandon b", "abandon p"]
    assert run.verdict is Verdict.FAILED
    assert run.statuses() == "a:cancelled b:failed c:failed p:cancelled"


# --- pausing and draining -----------------------------------------------------------------------


def test_a_failure_may_wait_for_an_operator() -> None:
    held = http("a", on_error="pause", catch_step="c")
    run = Run(held, http("b", "a"), http("c"), http("d"), http("e", "d"))
    run.go()
    assert run.fails("a") == ["start c"]
    run.done("c")
    assert run.verdict is None
    assert run.done("d") == []
    assert run.verdict is Verdict.PAUSED


def test_a_pause_lets_what_runs_finish_and_goes_on_when_lifted() -> None:
    run = Run(http("a"), http("b", "a"))
    run.go()
    run.facts.pausing = True
    assert run.go() == []
    assert run.verdict is None
    assert run.done("a") == []
    assert run.verdict is Verdict.PAUSED
    run.facts.pausing = False
    assert run.go() == ["start b"]


def test_a_run_that_has_nothing_left_completes_although_it_is_to_pause() -> None:
    run = Run(http("a"))
    run.go()
    run.facts.pausing = True
    run.done("a")
    assert run.verdict is Verdict.COMPLETED


def test_polls_are_suspended_while_nothing_may_start() -> None:
    run = Run(wait("p", "input.ok"))
    run.go()
    assert run.done("p", Await(interval=5, until=100)) == ["start p"]
    assert run.go(draining=True) == ["suspend p"]
    assert (run.last.busy, run.verdict) == (False, None)
    assert run.go() == ["start p"]


def test_draining_ends_with_nothing_in_flight_and_no_verdict() -> None:
    run = Run(http("a"), http("b", "a"), http("r", retry={"delay": 1}))
    run.go()
    run.fails("r")
    settle(run.fact("a"), Done())
    run.now = 5
    assert run.go(draining=True) == []
    assert (run.last.busy, run.verdict) == (False, None)
    assert run.go() == ["start b", "start r"]


def test_a_catch_step_is_not_lost_by_draining_or_pausing() -> None:
    for closing in ("draining", "pausing"):
        run = Run(http("a", catch_step="c"), http("c"))
        run.go()
        run.facts.pausing = closing == "pausing"
        step = run.plan.steps[0]
        fail(step, run.fact("a"), Failure(code="bad", message="bad"), 0)
        assert run.go(draining=closing == "draining") == []
        assert run.verdict is (Verdict.PAUSED if run.facts.pausing else None)
        run.facts.pausing = False
        assert run.go() == ["start c"]
