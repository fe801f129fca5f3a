"""Progress in loops: items, concurrency, failures, nesting, and giving up."""

from engine.facts import Failure
from engine.lifecycle import StepStatus
from engine.moves import Verdict
from engine.outcomes import Await, Branch, Each, Skip, Sleep
from engine.progress import advance
from engine.settle import fail
from tests.unit.driven import Run
from tests.unit.language import condition, http, loop, wait


def looping(*body: object, each: Each, **more: object) -> tuple[Run, list[str]]:
    """A run whose loop `l` has just answered, and what started."""
    run = Run(loop("l", *body, **more), http("after", "l"))
    assert run.go() == ["start l"]
    return run, run.done("l", each)


def test_items_run_one_after_another_by_default() -> None:
    run, started = looping(http("a"), http("b", "a"), each=Each(count=2))
    assert started == ["start a@0"]
    assert run.done("a@0") == ["start b@0"]
    assert run.done("b@0") == ["start a@1"]
    assert run.done("a@1") == ["start b@1"]
    assert run.done("b@1") == ["over l"]
    assert run.done("l") == ["start after"]


def test_so_many_items_run_at_once_as_the_loop_says() -> None:
    run, started = looping(http("a"), each=Each(count=4, concurrency=2))
    assert started == ["start a@0", "start a@1"]
    assert run.done("a@1") == ["start a@2"]
    assert run.done("a@0") == ["start a@3"]


def test_a_loop_over_nothing_is_over_at_once() -> None:
    run, started = looping(http("a"), each=Each(count=0))
    assert started == ["over l"]
    assert run.done("l") == ["start after"]


def test_items_whose_steps_are_all_skipped_are_over_in_one_answer() -> None:
    run = Run(loop("l", http("a", enabled=False), http("b", "a")))
    run.go()
    fact = run.fact("l")
    run.done("l", Each(count=0))
    fact.status = StepStatus.PENDING
    run.go()
    assert run.done("l", Each(count=3)) == [
        *("skip a@0", "skip b@0", "skip a@1", "skip b@1", "skip a@2", "skip b@2"),
        "over l",
    ]


def test_an_item_is_a_scope_of_its_own() -> None:
    run, _ = looping(
        condition("c", ["a"], ["b"]), http("a"), http("b"), each=Each(count=2, concurrency=2)
    )
    assert run.done("c@0", Branch(untaken=["a"])) == ["skip a@0", "start b@0"]
    assert run.done("c@1", Branch(untaken=["b"])) == ["skip b@1", "start a@1"]


def test_catch_and_fallback_work_inside_an_item() -> None:
    run, _ = looping(
        http("a", on_error="fallback", fallback_step="f", catch_step="c"),
        http("c"),
        http("f"),
        each=Each(count=1),
    )
    assert run.fails("a@0") == ["start c@0"]
    assert run.done("c@0") == ["start f@0"]
    assert run.done("f@0") == ["over l"]


def test_an_item_that_fails_ends_the_loop_and_names_itself() -> None:
    run, _ = looping(http("a"), http("b", "a"), each=Each(count=5, concurrency=2))
    assert run.fails("a@1") == []
    assert run.done("a@0") == ["over l"]
    (move,) = [move for move in [run.fact("l")] if move.status is StepStatus.RUNNING]
    assert move.loop is None
    assert run.fails("l") == []
    assert run.verdict is Verdict.FAILED


def test_the_failure_of_a_loop_is_that_of_its_item() -> None:
    run, _ = looping(http("a"), each=Each(count=2))
    fail(run.plan.steps[0].body[0], run.fact("a@0"), Failure(code="odd", message="no luck"), 0)
    (over,) = advance(run.plan, run.facts, 0).moves
    assert getattr(over, "failure", None) == Failure(code="odd", message="Item 0 failed: no luck")


def test_a_loop_may_go_on_past_failed_items() -> None:
    run, _ = looping(http("a"), each=Each(count=2, on_item_error="continue"))
    assert run.fails("a@0") == ["start a@1"]
    loop_fact = run.fact("l").loop
    assert loop_fact is not None
    assert (loop_fact.completed, loop_fact.failed, loop_fact.failure) == (0, 1, None)
    assert run.done("a@1") == ["over l"]


def test_the_items_that_only_wait_are_given_up_at_once() -> None:
    run, _ = looping(wait("w", "input.ok"), each=Each(count=2, concurrency=2))
    run.done("w@0", Sleep(wake_at=1e9))
    assert run.fails("w@1") == ["abandon w@0", "over l"]


def test_a_catch_step_of_an_item_runs_although_the_loop_is_failing() -> None:
    run, _ = looping(
        http("a", catch_step="c"),
        http("c", retry={"delay": 3}),
        each=Each(count=2, concurrency=2),
    )
    assert run.fails("a@0") == ["start c@0"]
    assert run.fails("a@1") == ["start c@1"]
    assert run.done("c@0") == []
    assert run.fails("c@1") == []
    assert run.last.wake_at == 3
    run.now = 3
    assert run.go() == ["start c@1"]
    assert run.done("c@1") == ["over l"]


def test_a_loop_is_given_up_when_the_run_fails() -> None:
    run = Run(http("x"), loop("l", http("a"), wait("w", "input.ok")))
    run.go()
    run.done("l", Each(count=3))
    run.done("w@0", Sleep(wake_at=1e9))
    assert run.fails("x") == ["abandon w@0"]
    assert run.done("a@0") == ["abandon l"]
    assert run.verdict is Verdict.FAILED
    assert run.fact("l").status is StepStatus.CANCELLED


def test_loops_inside_loops() -> None:
    run, started = looping(loop("m", http("a")), http("b", "m"), each=Each(count=2, concurrency=2))
    assert started == ["start m@0", "start m@1"]
    assert run.done("m@0", Each(count=2)) == ["start a@0.0"]
    assert run.done("m@1", Each(count=0)) == ["over m@1"]
    assert run.done("a@0.0") == ["start a@0.1"]
    assert run.done("m@1") == ["start b@1"]
    assert run.done("a@0.1") == ["over m@0"]
    assert run.done("m@0") == ["start b@0"]
    assert run.done("b@0") == []
    assert run.done("b@1") == ["over l"]


def test_a_failure_deep_inside_fails_what_is_around_it() -> None:
    run, _ = looping(loop("m", http("a")), each=Each(count=2))
    run.done("m@0", Each(count=1))
    assert run.fails("a@0.0") == ["over m@0"]
    assert run.fails("m@0") == ["over l"]


def test_a_loop_that_is_retried_begins_anew() -> None:
    run, _ = looping(http("a"), each=Each(count=1), retry={"delay": 0})
    assert run.fails("a@0") == ["over l"]
    assert run.fails("l") == ["start l"]
    assert run.done("l", Each(count=1)) == ["start a@0"]


def test_steps_of_a_loop_that_runs_again_have_its_generation() -> None:
    run = Run(loop("l", loop("m", http("a"))))
    run.go()
    run.fact("l").generation = 3
    run.done("l", Each(count=1))
    run.done("m@0", Each(count=1))
    assert (run.fact("m@0").generation, run.fact("a@0.0").generation) == (3, 3)


def test_nothing_is_opened_while_draining_or_pausing() -> None:
    run, _ = looping(http("a"), each=Each(count=3))
    run.facts.pausing = True
    assert run.done("a@0") == []
    assert run.verdict is Verdict.PAUSED
    run.facts.pausing = False
    assert run.go() == ["start a@1"]


def test_an_item_may_wait_for_an_operator_while_the_others_finish() -> None:
    run, _ = looping(http("a", on_error="pause"), http("b", "a"), each=Each(count=4, concurrency=2))
    assert run.fails("a@0") == []
    assert run.verdict is None
    assert run.done("a@1", Skip()) == ["skip b@1"]
    assert run.verdict is Verdict.PAUSED


def test_polls_in_items_are_suspended_and_taken_up_again() -> None:
    run, _ = looping(wait("w", "input.ok"), each=Each(count=1))
    assert run.done("w@0", Await(interval=1, until=9)) == ["start w@0"]
    assert run.go(draining=True) == ["suspend w@0"]
    assert run.go() == ["start w@0"]


def test_nobody_is_waited_for_in_an_item_that_has_failed() -> None:
    run, _ = looping(
        http("a"), http("p", on_error="pause"), each=Each(count=2, on_item_error="continue")
    )
    run.fails("p@0")
    assert run.verdict is None
    assert run.fails("a@0") == ["start a@1", "start p@1"]
