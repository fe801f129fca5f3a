"""`wait`: pause for a duration, until a time, until a condition holds, or until something happens.

Source: contracts §3.4, DESIGN §8 for events. The run holds no worker while it waits.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    TypeAdapter,
    field_validator,
    model_validator,
)

from activities.base import StepConfig, StepContext, StepType
from engine.errors import StepError
from engine.expressions import ExpressionError, never_true
from engine.matching import Happening, Wanted, pin_of, taken_along
from engine.outcomes import Await, Done, Sleep
from engine.records import require_event_name

#: The longest wait, in seconds: ten years.
MAX_WAIT = 10 * 366 * 86_400.0
#: Seconds between two looks for an event whose wake-up was lost, which the sweeper repeats.
ASK = 600.0

_TIME = TypeAdapter(datetime)


def _read(value: object) -> object:
    """A time from a text, which is what JSON has; also where no text is taken for anything else."""
    return _TIME.validate_python(value, strict=False) if isinstance(value, str) else value


class Config(StepConfig):
    """Waits for a while, until a time, until a condition holds, or until something happens.

    Exactly one of `duration`, `until`, `condition` and `event`. The run holds no worker meanwhile.
    `condition` also sees steps that run beside it.

    Of the events that are published, the first one counts since the run was started that has this
    name and for which `match` is true. An event that comes before the step does is not missed, and
    the one that has started the run does not count. In `match`, `event` and `entity` are those of
    the event that came; what it mentions besides has the value of when the wait began. It is not
    true where it cannot be evaluated, which the message of a time-out tells of. A comparison of a
    text, as in `event.data.ticket == input.ticket`, alone or joined by `&&`, lets the wait be found
    at once; of waits for one name that have none, or the same, there can be 1,000.
    """

    duration: float | None = Field(default=None, ge=0, le=MAX_WAIT, description="Seconds.")
    until: Annotated[datetime | None, BeforeValidator(_read)] = Field(
        default=None, description="ISO 8601; without a zone it is UTC."
    )
    condition: str | None = Field(default=None, description="An expression asked again and again.")
    poll_interval: float = Field(default=5, ge=0.1, le=86_400, description="Seconds.")
    event: str | None = Field(
        default=None, min_length=1, max_length=200, description="The name of an event."
    )
    match: str | None = Field(
        default=None, description="An expression that is true for the event that is waited for."
    )
    timeout: float = Field(
        default=86_400,
        gt=0,
        le=MAX_WAIT,
        description="Seconds after which a condition that does not hold fails the step, and an "
        "event that has not come does what `on_timeout` says.",
    )
    on_timeout: Literal["fail", "continue"] = Field(
        default="fail", description="What becomes of the step when the event does not come."
    )

    @field_validator("event")
    @classmethod
    def _is_a_name(cls, event: str | None) -> str | None:
        return None if event is None else require_event_name(event)

    @field_validator("match")
    @classmethod
    def _may_be_true(cls, match: str | None) -> str | None:
        if match is not None and (wrong := never_true(match)):
            raise ValueError(wrong)
        return match

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        modes = (self.duration, self.until, self.condition, self.event)
        if sum(mode is not None for mode in modes) != 1:
            raise ValueError("exactly one of duration, until, condition and event is needed")
        if self.event is None and (self.match is not None or self.on_timeout != "fail"):
            raise ValueError("'match' and 'on_timeout' go with 'event'")
        return self


async def run(config: Config, context: StepContext) -> Sleep | Await | Done:
    """Ask the interpreter for a durable timer, or to be asked again."""
    if config.duration is not None:
        return Sleep(wake_at=context.began + config.duration)
    if config.until is not None:
        at = config.until if config.until.tzinfo else config.until.replace(tzinfo=UTC)
        return Sleep(wake_at=max(at.timestamp(), context.began))
    if config.event is not None:
        return await _until_it_happens(config, context, config.event)
    result = context.evaluate(config.condition or "")
    if not isinstance(result, bool):
        raise StepError(
            "not_a_boolean",
            f"The condition of wait '{context.step}' is neither true nor false.",
            retryable=False,
        )
    if result:
        return Done(output={"waited_seconds": _waited(context)})
    until = context.until or context.began + config.timeout
    if context.now >= until:
        raise StepError(
            "wait_timeout",
            f"The condition of wait '{context.step}' did not hold within {config.timeout:g} s.",
            retryable=False,
        )
    return Await(interval=config.poll_interval, until=until)


async def _until_it_happens(config: Config, context: StepContext, event: str) -> Await | Done:
    waits, call = context.clients.waits, context.call
    until = context.until or context.began + config.timeout
    known, came = await waits.look(call) if call.poll else (False, None)
    if not known:
        came = await waits.begin(call, _wanted(config, context, event))
    if came is None and context.now >= until:
        unjudged = await waits.unjudged(call)
        came = await waits.give_up(call)
        if came is None and config.on_timeout == "fail":
            text = f"No event '{event}' for wait '{context.step}' came within {config.timeout:g} s."
            if unjudged is not None:
                text += f" 'match' could not be evaluated for {unjudged}"
            raise StepError("wait_timeout", text, retryable=False)
        if came is None:
            return Done(output=_told(context, None))
    if came is None:
        return Await(interval=min(ASK, max(until - context.now, 0.1)), until=until)
    return Done(output=_told(context, came))


def _wanted(config: Config, context: StepContext, event: str) -> Wanted:
    if config.match is None:
        return Wanted(event)
    try:
        along = taken_along(config.match, context.scope)
        return Wanted(event, config.match, along, pin_of(config.match, along))
    except ExpressionError as error:
        raise StepError("expression_failed", str(error), retryable=False) from error


def _told(context: StepContext, came: Happening | None) -> dict[str, JsonValue]:
    seen = None if came is None else came.scope()
    return {
        "event": seen and seen["event"],
        "entity": seen and seen["entity"],
        "timed_out": came is None,
        "waited_seconds": _waited(context),
    }


def _waited(context: StepContext) -> int:
    return max(0, int(context.now - context.began))


STEP = StepType(
    config=Config,
    run=run,
    output='`{"waited_seconds": 60}`; after an event `event` too, with `id`, `name` and '
    "`data`, `entity`, what it was about or null, and `timed_out`, with which `event` is null.",
    errors="`wait_timeout`, `not_a_boolean`, `match_too_large`, `event_purged` (none of them "
    "retried), and `too_many_waits`.",
    lane="decides",
    expressions=("condition", "match"),
    live=True,
    per_entity=False,
)
