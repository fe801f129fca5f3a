"""`activity`: have any Temporal activity carried out, in any language, on any task queue.

Source: DESIGN §8. This is the way out to code of one's own. The input and the answer travel through
Temporal; decision 0012.
"""

from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from activities.base import StepConfig, StepContext, StepType
from engine.foreign import ForeignCall
from engine.outcomes import Done

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class Config(StepConfig):
    """Has a Temporal activity of [your own](../how-to/your-own-activities.md) carried out.

    In any language, on any task queue but Signalbox's own. Its id is the step's stable key.

    Input and output travel through Temporal and stay in the history of the call, not of the run. So
    secrets are refused here. The most is 1.5 MiB of input and 2 MiB of output.

    A failure that it reports has its type as code (`CardDeclined` is `card_declined`) and can be
    retried unless it says otherwise. When its worker is lost it is carried out again, under the
    same id and within the same attempt.
    """

    name: Name = Field(description="The activity's type, as its worker registers it.")
    task_queue: Name = Field(description="The Temporal task queue that its worker polls.")
    input: JsonValue = Field(
        default=None, description="Its one argument; where the key is left out, it gets none."
    )
    heartbeat_timeout: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Seconds without a heartbeat after which its worker counts as lost.",
    )
    schedule_to_start_timeout: float = Field(
        default=60,
        gt=0,
        le=86_400,
        description="Seconds within which a worker has to take it; at most the step's own timeout.",
    )


async def run(config: Config, context: StepContext) -> Done:
    """Call it; answer what it answers."""
    call = ForeignCall(
        key=context.key,
        n=context.n,
        attempt=context.attempt,
        name=config.name,
        task_queue=config.task_queue,
        args=[config.input] if "input" in config.model_fields_set else [],
        timeout=context.timeout,
        heartbeat=config.heartbeat_timeout,
        # Before the step's own time is over, so that the reason is known.
        start=min(config.schedule_to_start_timeout, 0.9 * context.timeout),
    )
    return Done(output=await context.clients.activities.call(call))


STEP = StepType(
    config=Config,
    run=run,
    output="what it answers, as JSON.",
    errors="what it reports, else `activity_failed`; `activity_not_started` (no worker took it; "
    "can be retried), `activity_lost`, `activity_cancelled`, `activity_refused`, "
    "`task_queue_refused`, `input_too_large`, `input_invalid`, `output_too_large`, "
    "`output_invalid`.",
    lane="long",
    per_entity=False,
)
