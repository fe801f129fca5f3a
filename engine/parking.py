"""When a run gives its place back: it only waits, and will for a while.

A run with nothing in flight but waits needs no place. It is worth giving back when nothing is due
for `PARK` seconds: less would only make it stand in line again. Source: DESIGN §3.3; decision 0010.
"""

import math
from collections.abc import Iterator

from engine.facts import Facts, Scope, StepFact
from engine.lifecycle import StepStatus

#: Seconds for which nothing may be due.
PARK = 10.0
#: Seconds by which an answer may be late, so that a wait of just `PARK` seconds counts.
LATE = 1.0


def park_at(facts: Facts, now: float, since: float) -> float | None:
    """When the run may give its place back; None while something is in flight or due too soon.

    A condition that is asked more often than every `PARK` seconds is first asked once more: what
    has just happened may have made it true.

    Args:
        facts: those of the run, when nothing more follows from them.
        now: seconds since 1970.
        since: when something last happened in the run.
    """
    due, look = math.inf, 0.0
    for fact in _open(facts.steps):
        if fact.polling:
            due = min(due, math.inf if fact.until is None else fact.until)
            look = max(look, fact.interval if fact.interval < PARK else 0.0)
        elif fact.status is StepStatus.RUNNING:
            return None
        elif fact.wake_at is not None:
            due = min(due, fact.wake_at)
    at = max(now, since + look)
    return at if due - at >= PARK - LATE else None


def _open(scope: Scope) -> Iterator[StepFact]:
    """The steps that are running or waiting, those inside of loops included."""
    for fact in scope.values():
        if fact.loop is not None:
            for item in fact.loop.items.values():
                yield from _open(item)
        elif fact.status in (StepStatus.RUNNING, StepStatus.WAITING):
            yield fact
