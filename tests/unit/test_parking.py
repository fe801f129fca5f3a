"""When a run gives its place back, and what may still happen while it has none."""

from typing import Any

import pytest

from engine.moves import Verdict
from engine.outcomes import Await, Done, Each, Sleep
from engine.parking import LATE, PARK, park_at
from engine.settle import ask_again
from tests.unit.driven import Run
from tests.unit.language import http, loop, wait


def parks(run: Run, since: float | None = None) -> float | None:
    return park_at(run.facts, run.now, run.now if since is None else since)


def sleeping(*seconds: float, more: tuple[Any, ...] = ()) -> Run:
    """A run whose steps `w0`, `w1`, … sleep that long from now on."""
    run = Run(*(wait(f"w{i}", "true") for i in range(len(seconds))), *more)
    run.go()
    for i, length in enumerate(seconds):
        run.done(f"w{i}", Sleep(wake_at=run.now + length))
    return run


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((PARK,), 0.0), ((3_600.0, 60.0), 0.0), ((PARK - LATE,), 0.0), ((PARK - LATE - 0.1,), None)],
)
def test_it_parks_for_a_long_wait(seconds: tuple[float, ...], expected: float | None) -> None:
    assert parks(sleeping(*seconds)) == expected


def test_the_shortest_wait_counts() -> None:
    assert parks(sleeping(3_600, 5)) is None


def test_it_does_not_park_with_something_in_flight() -> None:
    run = sleeping(60, more=(http("a"),))
    assert parks(run) is None
    run.done("a")
    assert parks(run) == 0


def test_a_retry_delay_is_a_wait() -> None:
    run = Run(http("a", retry={"delay": 30}))
    run.go()
    run.fails("a")
    assert parks(run) == 0
    run.now = 25
    assert parks(run) is None


def test_a_wait_inside_a_loop_is_a_wait() -> None:
    run = Run(loop("each", wait("w", "true"), http("a", "w")))
    run.go()
    run.done("each", Each(count=2, concurrency=2))
    run.done("w@0", Sleep(wake_at=60))
    assert parks(run) is None
    run.done("w@1", Sleep(wake_at=90))
    assert parks(run) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # The end of a child is told, and asking seldom: it parks at once.
        (Await(interval=15), 0.0),
        (Await(interval=15, until=3_600), 0.0),
        (Await(interval=15, until=5), None),
        # One that asks often is asked once more, for what has just ended may be what it waits for.
        (Await(interval=4, until=3_600), 4.0),
        (Await(interval=4, until=12), None),
    ],
)
def test_a_poll_is_a_wait(answer: Await, expected: float | None) -> None:
    run = Run(wait("w", "true"))
    run.go()
    assert run.done("w", answer) == ["start w"]
    assert parks(run) == expected


def test_what_happened_long_ago_needs_no_further_look() -> None:
    run = Run(wait("w", "true"))
    run.go()
    run.done("w", Await(interval=4, until=3_600))
    run.now = 100
    assert parks(run, since=0) == 100
    assert parks(run, since=98) == 102


# --- without a place ---------------------------------------------------------------------------


def parked(*steps: Any) -> Run:
    """A run that sleeps in `w` for a minute and has no place."""
    run = Run(wait("w", "true"), *steps)
    run.go()
    run.done("w", Sleep(wake_at=60))
    run.facts.parked = True
    assert run.go() == []
    assert not run.last.wanting
    return run


def test_nothing_starts_until_there_is_a_place() -> None:
    run = parked(http("a", "w"), http("b", "a"))
    run.now = 60
    assert run.go() == ["wake w"]
    assert (run.last.wanting, run.verdict, run.last.busy) == (True, None, False)
    assert run.go() == []
    run.facts.parked = False
    assert run.go() == ["start a"]
    assert not run.last.wanting
    run.done("a")
    run.done("b")
    assert run.verdict is Verdict.COMPLETED


def test_a_run_may_end_without_a_place() -> None:
    run = parked()
    run.now = 60
    assert run.go() == ["wake w"]
    assert (run.last.wanting, run.verdict) == (False, Verdict.COMPLETED)


def test_a_retry_waits_for_a_place_and_stays_due() -> None:
    run = Run(http("a", retry={"delay": 30, "max_attempts": 2}))
    run.go()
    run.fails("a")
    run.facts.parked = True
    run.now = 30
    assert run.go() == []
    assert run.last.wanting
    assert run.last.wake_at is None
    run.facts.parked = False
    assert run.go() == ["start a"]


def test_a_poll_is_asked_without_a_place() -> None:
    run = Run(wait("w", "true"), http("a", "w"))
    run.go()
    run.done("w", Await(interval=15))
    run.facts.parked = True
    assert ask_again(run.plan, run.facts, "w", ())
    assert run.go() == ["start w"]
    assert run.done("w", Done()) == []
    assert run.last.wanting


def test_the_items_of_a_loop_wait_for_a_place() -> None:
    run = Run(loop("each", wait("w", "true"), http("a", "w")))
    run.go()
    run.done("each", Each(count=2))
    run.done("w@0", Sleep(wake_at=60))
    run.facts.parked = True
    run.now = 60
    assert run.go() == ["wake w@0"]
    assert run.last.wanting
    run.facts.parked = False
    assert run.go() == ["start a@0"]
    run.facts.parked = True
    # The next item opens, and nothing of it starts.
    assert run.done("a@0") == []
    assert (run.last.wanting, run.verdict) == (True, None)
    run.facts.parked = False
    assert run.go() == ["start w@1"]


def test_a_catch_step_waits_for_a_place_too() -> None:
    run = Run(http("a", catch_step="c", on_error="pause"), http("c"))
    run.go()
    run.facts.parked = True
    assert run.fails("a") == []
    assert (run.last.wanting, run.verdict) == (True, None)
    run.facts.parked = False
    assert run.go() == ["start c"]
    run.done("c")
    assert run.verdict is Verdict.PAUSED


def test_a_pause_needs_no_place() -> None:
    run = parked(http("a", "w"))
    run.now = 60
    run.go()
    run.facts.pausing = True
    assert run.go() == []
    assert (run.last.wanting, run.verdict) == (False, Verdict.PAUSED)


def test_asking_again_lets_go_of_what_is_being_asked_alone() -> None:
    run = Run(loop("each", wait("w", "true")), http("a"))
    run.go()
    run.done("each", Each(count=1))
    # Its first attempt is under way: that one asks by itself.
    assert not ask_again(run.plan, run.facts, "w", (0,))
    run.done("w@0", Await(interval=15))
    assert not ask_again(run.plan, run.facts, "a", ())
    for place in ((1,), (), (0, 0)):
        assert not ask_again(run.plan, run.facts, "w", place)
    assert not ask_again(run.plan, run.facts, "nothing", ())
    assert ask_again(run.plan, run.facts, "w", (0,))
    assert not ask_again(run.plan, run.facts, "w", (0,))
    assert run.go() == ["start w@0"]
