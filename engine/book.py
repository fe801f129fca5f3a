"""What the interpreter and its ledger say to each other, and how an execution is addressed.

The two rooms do not import one another; they meet by activity names and by these.
"""

from typing import Literal

from pydantic import BaseModel

from engine.facts import Facts, Failure
from engine.lifecycle import RunStatus, StepStatus
from engine.plan import Plan

#: The workflow type that carries out every run.
RUN = "run"
#: Seconds. A local activity holds its workflow task: this bounds how late signals and cancel are.
TASK_TIMEOUT = 2.0

#: The signal that tells an execution that it was given a place.
ADMIT = "admit"
#: The signal that tells an execution that what a step waits for is over.
WAKE = "wake"


def execution_id(run: str, n: int) -> str:
    """Temporal's workflow id of an execution.

    >>> execution_id("ab", 2)
    'run/ab/2'
    """
    return f"run/{run}/{n}"


def timer_id(schedule: str) -> str:
    """Temporal's id of a schedule.

    >>> timer_id("ab")
    'sched/ab'
    """
    return f"sched/{schedule}"


class Due(BaseModel):
    """A start by a schedule, before it is a run.

    Attributes:
        run: the id that the run will have.
        temporal_id: the workflow id of its first execution.
        at: when it was due; microseconds UTC, as are all times of the store.
        began: when Temporal started it.
    """

    run: str
    schedule: str
    temporal_id: str
    at: int
    began: int


class DueOpened(BaseModel):
    """Whether there is a run now (`open`), there will be none (`over`), or not yet (`wait`)."""

    state: str


class RunRef(BaseModel):
    """An execution of a run."""

    run: str
    n: int


class Wake(BaseModel):
    """Which waiting step is to be asked again."""

    step: str
    iteration: list[int] = []


class PlaceCall(RunRef):
    """A run that gives its place back, or asks for one again.

    Attributes:
        parkings: how often the run has given its place back; what comes too late says another one.
        wanted: a step is to start; otherwise only a place that was given is taken note of.
    """

    parkings: int
    wanted: bool = True


class Place(BaseModel):
    """How a run stands with its place: `held`, `none`, `stale` (ask again), or it is `over`."""

    state: Literal["held", "none", "stale", "over"]
    parkings: int = 0


class Opened(BaseModel):
    """How an execution begins: `admitted` with its plan and facts, `queued`, or `over`."""

    state: str
    plan: Plan | None = None
    facts: Facts | None = None


class Entry(BaseModel):
    """A change of a step that no activity of its own records.

    Attributes:
        attempt: the attempt that ended so, from 1.
        failure: why it failed, where the step's row does not say so yet.
    """

    step: str
    iteration: list[int] = []
    generation: int = 1
    attempt: int = 1
    status: StepStatus
    reason: str = ""
    failure: Failure | None = None


class Entries(RunRef):
    """Some entries of one execution."""

    entries: list[Entry]


class LoopEnd(RunRef):
    """A loop whose items are all over, or that failed."""

    step: str
    iteration: list[int] = []
    generation: int = 1
    attempt: int = 1
    final: bool = True
    failure: Failure | None = None


class RunEnd(Entries):
    """The end of an execution."""

    status: RunStatus
    failure: Failure | None = None


class LoopClosed(BaseModel):
    """How a loop has ended: complete, or failed."""

    failure: Failure | None = None


class RunClosed(BaseModel):
    """How an execution has ended."""

    status: RunStatus
