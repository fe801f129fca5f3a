"""`ai_generate`: have a model write a text, or fill in fields.

Source: contracts §2.3 and §3.4. Here it answers what the model has written; writing that into an
entity is another surface's.
"""

from typing import Self

from pydantic import Field, JsonValue, model_validator

from activities.base import StepConfig, StepContext, StepType
from activities.clients.models import Bounds, Question
from engine.agent import Budget, FieldName, ModelName, ModelOptions, OutputSchema
from engine.outcomes import Done


class Config(StepConfig):
    """What is asked, of which model, and what the answer looks like."""

    prompt: str = Field(min_length=1, description="What the model is asked.")
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
    output_schema: OutputSchema | None = Field(
        default=None, description="JSON Schema of the output, an object; instead of `fields`."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="0 to 2.")
    max_output_tokens: int | None = Field(
        default=None, ge=1, le=1_000_000, description="A text that gets longer is cut there."
    )
    budget: Budget | None = Field(
        default=None, description="`max_requests`, `max_total_tokens`, `max_seconds`."
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.fields is not None and self.output_schema is not None:
            raise ValueError("'fields' and 'output_schema' exclude each other")
        return self


async def run(config: Config, context: StepContext) -> Done:
    """Ask; answer the text, or the object."""
    question = Question(
        prompt=config.prompt,
        model=config.model,
        instructions=config.instructions,
        schema=config.output_schema if config.fields is None else _texts(config.fields),
        options=ModelOptions(
            temperature=config.temperature, max_output_tokens=config.max_output_tokens
        ),
        budget=config.budget or Budget(),
    )
    bounds = Bounds(context.key, context.timeout, context.usage)
    return Done(output=await context.clients.models.ask(question, bounds))


def _texts(names: list[str]) -> dict[str, JsonValue]:
    """The schema of an object of texts."""
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": [*dict.fromkeys(names)],
        "additionalProperties": False,
    }


STEP = StepType(config=Config, run=run, lane="long")
