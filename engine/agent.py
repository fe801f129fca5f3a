"""What an organisation says of an agent: its model, its instructions, what it may do and use up.

Source: contracts §3.4, `agent_task`.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from engine.output_schema import output_schema_problems

N = TypeVar("N", int, float)

#: Requests of one attempt, unless the agent or the step says otherwise.
REQUESTS = 10


def _is_an_output_schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    problems = output_schema_problems(schema)
    if problems:
        raise ValueError(problems[0])
    return schema


#: A provider, and a model as that provider knows it.
MODEL_NAME = r"^(openai|anthropic):[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$"
ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME)]
#: A name of a field; the part of a step's output that is called so.
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
ToolName = Literal["http_request"]
#: A host, or all below one.
Host = Annotated[
    str,
    StringConstraints(
        to_lower=True, max_length=253, pattern=r"^(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$"
    ),
]
OutputSchema = Annotated[dict[str, JsonValue], AfterValidator(_is_an_output_schema)]
#: Text that every database column takes: a NUL has no place in PostgreSQL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Budget(_Strict):
    """What one attempt may use up; None for no bound of its own, but see `REQUESTS`."""

    max_requests: int | None = Field(default=None, ge=1, le=100)
    max_total_tokens: int | None = Field(default=None, ge=1, le=100_000_000)
    max_seconds: float | None = Field(default=None, gt=0, le=7 * 86_400)

    def narrowed(self, other: "Budget | None") -> "Budget":
        """The tighter of both, bound by bound.

        >>> Budget(max_requests=5).narrowed(Budget(max_requests=9, max_seconds=3))
        Budget(max_requests=5, max_total_tokens=None, max_seconds=3.0)
        """
        if other is None:
            return self
        return Budget(
            max_requests=_least(self.max_requests, other.max_requests),
            max_total_tokens=_least(self.max_total_tokens, other.max_total_tokens),
            max_seconds=_least(self.max_seconds, other.max_seconds),
        )


def _least(one: N | None, other: N | None) -> N | None:
    return min((bound for bound in (one, other) if bound is not None), default=None)


class ModelOptions(_Strict):
    """How the model is asked; what is not said is left to the provider."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, ge=1, le=1_000_000)


class AgentSpec(_Strict):
    """An agent, without its name.

    Attributes:
        model: None for the deployment's own.
        tools: what the agent may do besides answering; nothing unless it is listed.
        hosts: whom `http_request` may reach; None for whomever the outgoing door lets it.
        secret: the organisation's secret that holds the key for the model's provider; None for the
            deployment's own key.
        output_schema: JSON Schema of the answer; None for text.
    """

    model: ModelName | None = None
    instructions: Text = Field(default="", max_length=100_000)
    tools: list[ToolName] = Field(default=[], max_length=8)
    hosts: list[Host] | None = Field(default=None, max_length=100)
    secret: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    settings: ModelOptions = ModelOptions()
    budget: Budget = Budget()
    output_schema: OutputSchema | None = None
