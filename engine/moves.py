"""What `engine.progress` can answer: the moves of a run, and how it ends."""

from dataclasses import dataclass, field
from enum import Enum, auto

from engine.facts import Failure, StepFact
from engine.plan import PlannedStep

#: The index in each loop around a step, outermost first; empty at the top.
Iteration = tuple[int, ...]


@dataclass(frozen=True)
class Start:
    """The step's activity is to be started."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact


@dataclass(frozen=True)
class Skipped:
    """The step will not run."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact
    reason: str


@dataclass(frozen=True)
class Woken:
    """The step slept long enough and is complete."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact


@dataclass(frozen=True)
class LoopOver:
    """Every item of the loop is over; its outputs are to be gathered, or its failure recorded."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact
    failure: Failure | None


@dataclass(frozen=True)
class Abandoned:
    """The step was only waiting, and the run is failing."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact


@dataclass(frozen=True)
class Suspended:
    """The step's poll is to stop while nothing may start; it is asked again later."""

    step: PlannedStep
    iteration: Iteration
    fact: StepFact


Move = Start | Skipped | Woken | LoopOver | Abandoned | Suspended


class Verdict(Enum):
    """How a scope has ended."""

    COMPLETED = auto()
    FAILED = auto()
    #: A step says `on_error: pause`, or an operator asked for a pause.
    PAUSED = auto()


@dataclass
class Advance:
    """What is to be done now.

    Attributes:
        moves: in definition order.
        verdict: None while there is something to do or to wait for.
        failure: why the verdict is FAILED.
        wake_at: the next time at which something is due.
        busy: an activity is in flight.
        wanting: something would start if the run had a place.
    """

    moves: list[Move] = field(default_factory=list)
    verdict: Verdict | None = None
    failure: Failure | None = None
    wake_at: float | None = None
    busy: bool = False
    wanting: bool = False

    def due(self, at: float | None) -> None:
        """Remember a time at which to look again."""
        if at is not None and (self.wake_at is None or at < self.wake_at):
            self.wake_at = at
