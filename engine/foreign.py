"""Activities of somebody else's: what a step asks for, and how such a call ends.

The step asks a small workflow of ours to make the call, so that the call outlives the step's own
worker. The two rooms do not import one another; they meet by these. Here the input and the answer
travel through Temporal, since the other worker knows nothing of the store; decision 0012.
"""

from typing import Literal

from pydantic import BaseModel, JsonValue

from engine.call import StepCall

#: The workflow type that calls an activity of somebody else's.
CALL = "call_activity"
#: The local activity that says whether some step still waits for a call.
WANTED = "call_is_wanted"


class CallRef(BaseModel):
    """One attempt of a step in one execution of its run: whose call it is.

    Attributes:
        key: the stable key of the step's effect.
        n: the number of the execution.
        attempt: of the step, from 1: what failed and is tried again is another call.
    """

    key: str
    n: int
    attempt: int

    @property
    def id(self) -> str:
        """Temporal's workflow id of the call: who asks again for the same attempt finds it there.

        >>> CallRef(key="ab/pay/-/1", n=2, attempt=3).id
        'call/ab/pay/-/1/2/3'
        """
        return f"call/{self.key}/{self.n}/{self.attempt}"

    @property
    def step(self) -> StepCall:
        """The attempt.

        >>> CallRef(key="ab/pay/2.0/1", n=2, attempt=3).step.key
        'ab/pay/2.0/1'
        """
        run, step, place, generation = self.key.split("/")
        return StepCall(
            run=run,
            n=self.n,
            step=step,
            iteration=[] if place == "-" else [int(index) for index in place.split(".")],
            generation=int(generation),
            attempt=self.attempt,
        )


class ForeignCall(CallRef):
    """What is called.

    Attributes:
        name: the activity's type.
        args: none or one.
        timeout: seconds for all of it.
        heartbeat: seconds without a sign of life after which its worker counts as lost.
        start: seconds within which a worker has to take it.
    """

    name: str
    task_queue: str
    args: list[JsonValue]
    timeout: float
    heartbeat: float | None
    start: float


class CallFailure(BaseModel):
    """Why a call has no answer.

    Attributes:
        kind: `reported` by the activity; `not_started`, no worker took it; `timeout`; `lost`, its
            workers were, more often than is borne; `unwanted`, no step waits for it any more.
        type: what the activity calls its failure.
        message: the activity's, bounded.
        retryable: the activity says that trying again can help.
    """

    kind: Literal["reported", "not_started", "timeout", "lost", "unwanted"]
    type: str = ""
    message: str = ""
    retryable: bool = True
