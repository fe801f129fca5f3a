"""`wait`: pause for a duration, until a time, or until a condition holds.

Source: contracts §3.4. The run holds no worker while it waits.
"""

from datetime import UTC, datetime
from typing import Self

from pydantic import Field, model_validator

from activities.base import StepConfig, StepContext, StepType
from engine.errors import StepError
from engine.outcomes import Await, Done, Sleep

#: The longest wait, in seconds: ten years.
MAX_WAIT = 10 * 366 * 86_400.0


class Config(StepConfig):
    """Waits for a while, until a time, or until a condition holds.

    Exactly one of `duration`, `until` and `condition`. The run holds no worker meanwhile.
    `condition` also sees steps that run beside it.
    """

    duration: float | None = Field(default=None, ge=0, le=MAX_WAIT, description="Seconds.")
    until: datetime | None = Field(default=None, description="ISO 8601; without a zone it is UTC.")
    condition: str | None = Field(default=None, description="An expression asked again and again.")
    poll_interval: float = Field(default=5, ge=0.1, le=86_400, description="Seconds.")
    timeout: float = Field(
        default=86_400,
        gt=0,
        le=MAX_WAIT,
        description="Seconds after which a condition that does not hold fails the step.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        modes = (self.duration, self.until, self.condition)
        if sum(mode is not None for mode in modes) != 1:
            raise ValueError("exactly one of 'duration', 'until' and 'condition' is needed")
        return self


async def run(config: Config, context: StepContext) -> Sleep | Await | Done:
    """Ask the interpreter for a durable timer, or to be asked again."""
    if config.duration is not None:
        return Sleep(wake_at=context.began + config.duration)
    if config.until is not None:
        at = config.until if config.until.tzinfo else config.until.replace(tzinfo=UTC)
        return Sleep(wake_at=max(at.timestamp(), context.began))
    result = context.evaluate(config.condition or "")
    if not isinstance(result, bool):
        raise StepError(
            "not_a_boolean",
            f"The condition of wait '{context.step}' is neither true nor false.",
            retryable=False,
        )
    if result:
        return Done(output={"waited_seconds": int(context.now - context.began)})
    until = context.until or context.began + config.timeout
    if context.now >= until:
        raise StepError(
            "wait_timeout",
            f"The condition of wait '{context.step}' did not hold within {config.timeout:g} s.",
            retryable=False,
        )
    return Await(interval=config.poll_interval, until=until)


STEP = StepType(
    config=Config,
    run=run,
    output='`{"waited_seconds": 60}`.',
    errors="`wait_timeout` (not retried), `not_a_boolean`.",
    lane="decides",
    expressions=("condition",),
    live=True,
)
