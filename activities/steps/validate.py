"""`validate`: are the fields as they have to be? Source: contracts §2.3."""

from typing import Literal

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from engine.catalog import Naming
from engine.errors import StepError
from engine.expressions.budget import Meter
from engine.expressions.errors import OverBudget
from engine.outcomes import Done, Skip
from engine.rules import MOST_RULES, Broken, Rule, broken

#: Broken rules that a message or a reason lists.
_TOLD = 20


class Config(StepConfig):
    """Looks whether fields are as they have to be.

    A rule is `{"field", "rule", "value"?, "message"?}`. `field` is a key, or keys joined by dots,
    as in `address.city` or `lines.0.price`. `message` is said instead of the usual words.

    The rules are `required` (there, and not an empty text, list or object), `minLength` and
    `maxLength` (characters of a text, elements of a list), `pattern` (a regular expression that
    occurs in the text; `^…$` for the whole), `min` and `max` (numbers, or texts such as dates),
    `oneOf` (a list of values; of a list each element), `url` (http or https) and `email`. Only
    `required` minds what is not there or null.

    A pattern has 200 characters at most, and no look-around or back-references.
    """

    rules: list[Rule] = Field(
        min_length=1, max_length=MOST_RULES, description="What has to hold, 1 to 200 rules."
    )
    value: JsonValue = Field(
        default=None,
        description="The object that has the fields; where the key is left out, those of "
        "the record that the run or the batch's lane is about (`entity.fields`), or else `input`.",
    )
    on_fail: Literal["fail", "skip", "warn"] = Field(
        default="fail",
        alias="onFail",
        description="When a rule is broken: the step fails, is skipped, or completes and says so.",
    )


async def run(config: Config, context: StepContext) -> Done | Skip:
    """Look at every rule; what is broken fails the step, skips it, or is in its output."""
    record = config.value if "value" in config.model_fields_set else context.record
    if not isinstance(record, dict):
        raise StepError(
            "not_an_object",
            f"What step '{context.step}' looks at is no object that has fields.",
            retryable=False,
        )
    try:
        found = broken(config.rules, record, Meter())
    except OverBudget as error:
        raise StepError(
            "rules_too_costly", f"The rules of step '{context.step}': {error}.", retryable=False
        ) from None
    if found and config.on_fail == "fail":
        message = f"Step '{context.step}' found it not valid: {_told(found)}"
        raise StepError("validation_failed", message, retryable=False)
    if found and config.on_fail == "skip":
        return Skip(reason=f"Not valid: {_told(found)}")
    return Done(output={"valid": not found, "errors": [one._asdict() for one in found]})


def _told(found: list[Broken]) -> str:
    shown = [one.message for one in found[:_TOLD]]
    more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return "; ".join(shown + more)


STEP = StepType(
    config=Config,
    run=run,
    output='`{"valid": true, "errors": []}`; with `onFail: warn` also `{"valid": false, "errors": '
    '[{"field", "rule", "message"}]}`.',
    errors="`validation_failed` (the message says which rules are broken), `not_an_object`, "
    "`rules_too_costly` (none is retried).",
    lane="decides",
    reads_input=True,
    naming=Naming(frozenset({"field"}), unless="value"),
)
