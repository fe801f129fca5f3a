"""`ai_generate`: have a model write a text, or fill in fields.

Source: contracts §2.3 and §3.4.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, JsonValue, model_validator

from activities.base import StepConfig, StepContext, StepType
from activities.clients.questions import Bounds, Question
from engine.agent import Budget, FieldName, ModelName, ModelOptions, OutputSchema
from engine.catalog import Naming
from engine.errors import StepError
from engine.outcomes import Done, EntityChange


class Config(StepConfig):
    """Has a model write a text, or fill in fields.

    `budget` is that of one attempt: `max_requests` (10 unless it says otherwise),
    `max_total_tokens`, `max_seconds`. An object that does not fit is sent back to the model with
    what is wrong, twice at most, within the budget.

    With `fields`, the model is also told the record that the run or the batch's lane is about;
    without a `prompt` that, or else `input`, is all that it is told. In a batch the texts are
    written into the entity. With `overwrite: false` only fields that are empty are written; when
    none is, the model is not asked.

    A schema is of `type: object` and has no references; `pattern` has no look-around and no
    back-references.

    A model in a private network has to be in `SIGNALBOX_EGRESS_ALLOW`. A retry does not come before
    the provider's `Retry-After` is over, an hour at most.
    """

    prompt: str | None = Field(
        default=None,
        min_length=1,
        description="What the model is asked; may be left out with `fields`.",
    )
    model: ModelName | None = Field(
        default=None, description="As in `openai:NAME`; otherwise the deployment's."
    )
    instructions: str = Field(default="", description="What the model is told beforehand.")
    fields: list[FieldName] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Names of texts to write; the output is an object of them.",
    )
    overwrite: bool = Field(
        default=True,
        description="With `fields`: also those that the record has a value for.",
    )
    output_schema: OutputSchema | None = Field(
        default=None, description="JSON Schema of the output, an object; instead of `fields`."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 to 2.")
    max_output_tokens: int | None = Field(
        default=None, ge=1, le=1_000_000, description="A text that gets longer is cut there."
    )
    budget: Budget | None = Field(
        default=None, description="What one attempt may use of the model."
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.fields is not None and self.output_schema is not None:
            raise ValueError("'fields' and 'output_schema' exclude each other")
        if self.prompt is None and self.fields is None:
            raise ValueError("needs a 'prompt', or 'fields' to write")
        return self


async def run(config: Config, context: StepContext) -> Done:
    """Ask; answer the text, or the object, whose texts become those of the entity."""
    fields = config.fields
    if fields is not None and not config.overwrite:
        fields = _empty(fields, context.record)
        if not fields:
            return Done(output={})
    question = Question(
        prompt=_prompt(config, fields, context),
        model=config.model,
        instructions=config.instructions,
        schema=config.output_schema if fields is None else _texts(fields),
        options=ModelOptions(
            temperature=config.temperature, max_output_tokens=config.max_output_tokens
        ),
        budget=config.budget or Budget(),
    )
    bounds = Bounds(context.key, context.timeout, context.usage)
    output = await context.clients.models.ask(question, bounds)
    if fields is None or not isinstance(output, dict):
        return Done(output=output)
    return Done(output=output, entity=EntityChange(fields=output))


def _empty(fields: Sequence[str], record: JsonValue) -> list[str]:
    """Those of the fields that the record has no value for."""
    known = record if isinstance(record, dict) else {}
    return [name for name in fields if known.get(name) in (None, "", [], {})]


def _prompt(config: Config, fields: Sequence[str] | None, context: StepContext) -> str:
    """What the model is asked, with what it has to know of the record whose fields it writes."""
    asked = config.prompt or f"Write the fields {', '.join(fields or ())} of this record."
    if fields is None or (config.prompt is not None and context.entity is None):
        return asked
    if not isinstance(context.record, dict):
        raise StepError(
            "not_an_object",
            f"Step '{context.step}' has no prompt, and no object whose fields it writes.",
            retryable=False,
        )
    return f"{asked}\n\n{_about(context.entity, context.record)}"


def _about(entity: Mapping[str, JsonValue] | None, record: Mapping[str, JsonValue]) -> str:
    kind = f" of the type {entity.get('type')}" if entity is not None else ""
    return f"The record{kind}, as JSON:\n{json.dumps(record, ensure_ascii=False, indent=1)}"


def _texts(names: list[str]) -> dict[str, JsonValue]:
    """The schema of an object of texts."""
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": [*dict.fromkeys(names)],
        "additionalProperties": False,
    }


STEP = StepType(
    config=Config,
    run=run,
    output="the text; with `fields` an object that has each of them that was written; with "
    "`output_schema` an object that fits it. `usage` is as in [`agent_task`](#agent_task). A text "
    "that reaches `max_output_tokens` is kept as far as it goes.",
    errors="not retried are `model_not_configured` (the message names the setting), "
    "`model_refused` (401, 403), `model_not_found` (404), `model_bad_request` (other 4xx), "
    "`model_quota_exceeded` (402, or a 429 that says so), `content_filtered`, "
    "`budget_exceeded` and `not_an_object`; retried are `model_rate_limited` (429), "
    "`model_unavailable` (5xx, 529), `model_bad_answer`, `output_invalid` and `timeout`; and those "
    "of the [outgoing door](egress.md).",
    lane="long",
    reads_input=True,
    naming=Naming(frozenset({"fields"})),
)
