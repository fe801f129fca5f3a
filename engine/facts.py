"""What has happened so far in a run, as far as the next decision needs it.

Facts are the interpreter's whole memory. The same document serves continue-as-new, resume after a
failure, retry from a step and (later) moving to a newer version: statuses, deadlines, cursors and
generations, never outputs. Times are seconds since 1970, UTC.
"""

from pydantic import BaseModel

from engine.lifecycle import StepStatus
from engine.outcomes import Each

#: The code of a failure of `effect: once` that may have taken effect: an operator has to look.
OUTCOME_UNKNOWN = "outcome_unknown"

#: The code of the answer of a step that did not begin because its run is being paused.
PAUSING = "Pausing"

#: The code of the answer of a step that did not begin because its run holds no place.
UNPLACED = "Unplaced"


class Failure(BaseModel):
    """Why a step failed. Source: `StepError`; the message is bounded by the wrapper.

    Attributes:
        retry_after: seconds before which another attempt is of no use.
    """

    code: str
    message: str
    step: str = ""
    retryable: bool = True
    retry_after: float | None = None


class StepFact(BaseModel):
    """One step of one scope.

    Attributes:
        failures: attempts that the step itself reported as failed.
        wake_at: when a sleep is over, or when a retry is due.
        sleeping: the step completes at `wake_at`; otherwise it is tried again then.
        polling: the step is asked again and again whether it is done.
        interval: seconds between two askings.
        until: when asking ends; None when it does not.
        untaken: steps that this one has excluded.
    """

    status: StepStatus = StepStatus.PENDING
    generation: int = 1
    failures: int = 0
    wake_at: float | None = None
    sleeping: bool = False
    polling: bool = False
    interval: float = 0
    until: float | None = None
    untaken: list[str] = []
    failure: Failure | None = None
    loop: "LoopFact | None" = None


Scope = dict[str, StepFact]


class LoopFact(BaseModel):
    """A loop's cursor: which items are open, and how many are over.

    Attributes:
        each: how many items there are and how they are to run.
        next: the first item that has not been opened.
        items: the open items; an item that is over is only counted.
    """

    each: Each
    next: int = 0
    completed: int = 0
    failed: int = 0
    items: dict[int, Scope] = {}
    failure: Failure | None = None


class Facts(BaseModel):
    """The facts of a run: those of its outermost scope, and what was asked of it.

    Attributes:
        parked: the run holds no place, so that nothing may start but what asks whether a wait is
            over.
        parkings: how often it has given its place back.
    """

    steps: Scope = {}
    pausing: bool = False
    parked: bool = False
    parkings: int = 0

    def scope(self, loops: tuple[str, ...], iteration: tuple[int, ...]) -> Scope | None:
        """The scope inside those loops at those indices; None when it is not open."""
        scope = self.steps
        for loop_id, index in zip(loops, iteration, strict=True):
            fact = scope.get(loop_id)
            if fact is None or fact.loop is None or index not in fact.loop.items:
                return None
            scope = fact.loop.items[index]
        return scope
