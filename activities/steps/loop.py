"""`loop`: run a small DAG once for each item of a list.

Source: contracts §3.4, DESIGN §8. The body sees `item`, `index` and its own `steps.<id>`; the
loop's output lists the output of the body's last step for each item, null for an item that failed.
"""

from typing import Any, Literal

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from engine.errors import StepError
from engine.outcomes import Each


class Config(StepConfig):
    """Runs a small DAG once for each item of a list.

    The body sees `item`, `index` and its own steps.
    """

    items: list[JsonValue] | str = Field(
        description="A list, or an expression that gives one (a map gives its sorted keys)."
    )
    steps: list[dict[str, Any]] = Field(min_length=1, description="The steps run for each item.")
    concurrency: int = Field(default=1, ge=1, le=100, description="Items that run at once.")
    max_iterations: int = Field(
        default=1_000, ge=1, le=100_000, description="More items than this fail the step."
    )
    on_item_error: Literal["fail", "continue"] = Field(
        default="fail", description="Whether a failed item fails the loop."
    )


async def run(config: Config, context: StepContext) -> Each:
    """List the items; the interpreter runs the body for each."""
    items = context.evaluate(config.items) if isinstance(config.items, str) else config.items
    if isinstance(items, dict):
        items = [*sorted(items)]
    if not isinstance(items, list):
        raise StepError(
            "not_a_list", f"The items of loop '{context.step}' are not a list.", retryable=False
        )
    if len(items) > config.max_iterations:
        raise StepError(
            "too_many_items",
            f"Loop '{context.step}' has {len(items)} items; max_iterations is "
            f"{config.max_iterations}.",
            retryable=False,
        )
    return Each(
        items=items,
        count=len(items),
        concurrency=config.concurrency,
        on_item_error=config.on_item_error,
    )


STEP = StepType(
    config=Config,
    run=run,
    output="a list: for each item what the last step of the body gave, null for an item that "
    "failed.",
    errors="`not_a_list`, `too_many_items`, and that of the first item that failed.",
    lane="decides",
    expressions=("items",),
    body="steps",
    per_entity=False,
)
