"""What a step activity is told: which step of which run, never any data.

The wrapper round the activity reads configuration, input and outputs from the store, so that
histories stay small and hold nothing of the user's.
"""

from pydantic import BaseModel


class StepCall(BaseModel):
    """One attempt of one step.

    Attributes:
        run: the run's id, 32 hex digits.
        n: the number of the execution, from 1.
        step: the step's id, unique in the definition.
        iteration: the index in each enclosing loop, outermost first.
        generation: rises when an operator re-runs what had completed.
        attempt: from 1; counts failures that the step itself reported.
        final: a failure of this attempt is the step's failure.
        local: runs as a local activity and has to hand over what takes long.
        moved: was handed over, and may still be going on where it began.
        poll: asks again whether a wait is over.
        once: the step's effect may not be repeated when its outcome is unknown.
        now: seconds since 1970 on the clock that timers go by, when the attempt was asked for.
    """

    run: str
    n: int = 1
    step: str
    iteration: list[int] = []
    generation: int = 1
    attempt: int = 1
    final: bool = True
    local: bool = False
    moved: bool = False
    poll: bool = False
    once: bool = False
    now: float = 0

    @property
    def place(self) -> str:
        """The iteration as text: empty at the top, `3.0` for item 0 of item 3."""
        return ".".join(map(str, self.iteration))

    @property
    def key(self) -> str:
        """The idempotency key of the step's effect: the same on every attempt, after every crash.

        >>> StepCall(run="ab", step="pay", iteration=[2]).key
        'ab/pay/2/1'
        """
        return f"{self.run}/{self.step}/{self.place or '-'}/{self.generation}"
