"""Batches: a run with one lane for each entity, carried out a window of lanes at a time.

A lane is the definition's steps for one entity: `engine.progress` decides in it as it does in a
run. Steps that are for the whole batch come after all lanes. Source: DESIGN §2 and §3; contracts
§2.4; decision 0015.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel

from engine.book import RunRef
from engine.facts import Facts, Failure
from engine.lifecycle import StepStatus
from engine.plan import Plan, PlannedStep

#: The workflow type that carries out batches.
BATCH = "batch"
#: The activity that carries out a window of lanes.
WINDOW = "perform_lanes"
#: Entities of one batch.
MOST_LANES = 100_000
#: Lanes of one batch that may be under way at the same time, and how many are unless it says so.
MOST_AT_ONCE = 1_000
USUALLY_AT_ONCE = 20
#: Windows that are carried out at the same time, each by an activity of its own.
WINDOWS_AT_ONCE = 4

_LARGEST_WINDOW = 500
_SMALLEST_WINDOW = 20
#: Windows that a batch is cut into while they are not too large.
_WINDOWS = 16


class LaneStatus(StrEnum):
    """Where a lane stands; nothing leaves the last two."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


#: States of lanes that are not over.
LANE_OPEN = (LaneStatus.PENDING, LaneStatus.RUNNING)

#: What becomes of a batch whose budget of failures is used up.
OnBudget = Literal["stop", "pause"]


class Note(BaseModel):
    """What happened in a lane, which went on: a step has failed, or was skipped for a reason.

    Attributes:
        code: that of the failure; None of a step that was skipped.
    """

    step_id: str
    code: str | None = None
    message: str


def progress_pause(seconds: float) -> float:
    """Seconds between two events that tell how far a batch is, once it has gone on for so long.

    >>> [progress_pause(seconds) for seconds in (1, 600, 36_000)]
    [2.0, 12.0, 720.0]
    """
    return max(2.0, seconds / 50)


def window_size(total: int, concurrency: int) -> int:
    """Lanes of a window: few enough that several workers share a batch, and many enough to pay.

    The windows under way have at least as many together as may be under way at the same time.

    >>> [window_size(total, 20) for total in (1, 1_000, 100_000)]
    [20, 63, 500]
    >>> window_size(1_000, 1_000)
    250
    """
    least = max(_SMALLEST_WINDOW, -(-concurrency // WINDOWS_AT_ONCE))
    return min(_LARGEST_WINDOW, max(least, -(-total // _WINDOWS)))


def shares(concurrency: int, windows: int) -> list[int]:
    """How many lanes each of the windows under way may have under way itself.

    >>> shares(10, 200), shares(3, 200), shares(10, 1)
    ([3, 3, 2, 2], [1, 1, 1], [10])
    """
    count = max(1, min(WINDOWS_AT_ONCE, concurrency, windows))
    return [concurrency // count + (slot < concurrency % count) for slot in range(count)]


def lane_plan(plan: Plan) -> Plan:
    """The plan of a lane: without the steps that are for the whole batch.

    Whoever depends on one of those depends on what that one depends on.
    """
    whole = {step.id: step for step in plan.steps if step.whole}
    return Plan(
        steps=[
            step.model_copy(
                update={
                    "depends_on": list(_through(step.depends_on, whole)),
                    "gates": [gate for gate in step.gates if gate not in whole],
                }
            )
            for step in plan.steps
            if not step.whole
        ]
    )


def _through(depends_on: Iterable[str], whole: dict[str, PlannedStep]) -> dict[str, None]:
    found: dict[str, None] = {}
    for step_id in depends_on:
        found |= _through(whole[step_id].depends_on, whole) if step_id in whole else {step_id: None}
    return found


def whole_steps(plan: Plan) -> list[PlannedStep]:
    """The enabled steps that are for the whole batch, in definition order."""
    return [step for step in plan.steps if step.whole and step.enabled]


def tally(plan: Plan, facts: Facts) -> dict[str, StepStatus]:
    """How each step of a lane that is over has ended: completed, failed or skipped."""
    found = {}
    for step in plan.steps:
        fact = facts.steps.get(step.id)
        ended = fact is not None and fact.status in (StepStatus.COMPLETED, StepStatus.FAILED)
        found[step.id] = fact.status if fact is not None and ended else StepStatus.SKIPPED
    return found


class BatchOpened(BaseModel):
    """How an execution of a batch begins: `admitted`, `queued`, or `over`.

    Attributes:
        total: lanes.
        first: the first window that has lanes which are not over.
        size: lanes of a window.
        after: steps for the whole batch.
    """

    state: str
    total: int = 0
    first: int = 0
    size: int = 1
    concurrency: int = 1
    after: list[PlannedStep] = []

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return -(-self.total // self.size)


class WindowCall(RunRef):
    """A window of lanes to carry out, at most `at_once` at the same time."""

    window: int
    at_once: int


class WindowDone(BaseModel):
    """How a window has ended.

    `done`: all its lanes are over. Otherwise some are not, because the batch is being paused
    (`paused`), its budget of failures is used up (`halted`), or it is `over`.
    """

    state: Literal["done", "paused", "halted", "over"]


class BatchEnd(RunRef):
    """The end of an execution of a batch.

    Attributes:
        how: `over` when all lanes are; `broken` when a window could not be carried out; `after`
            when all lanes are over, and a step for the whole batch has failed.
    """

    how: Literal["over", "paused", "halted", "cancelled", "broken", "after"]
    failure: Failure | None = None
