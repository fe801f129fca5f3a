"""What a model is asked, where it is asked, and what holds for the asking."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue, SecretStr

from engine.agent import Budget, ModelOptions, ToolName
from engine.usage import Usage


@dataclass(frozen=True)
class Endpoint:
    """One model, and where and as whom it is asked.

    Attributes:
        theirs: it is the provider's own service, and not one that speaks its language.
    """

    provider: str
    model: str
    url: str
    key: SecretStr
    theirs: bool


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
        model: `provider:name`; None for the deployment's own.
        schema: JSON Schema of the answer; None for text.
        tools: what the model may do besides answering.
        hosts: whom its requests may reach; None for whomever the outgoing door lets it.
        api_key: the key for the provider; None for the deployment's own.
    """

    prompt: str = field(repr=False)
    model: str | None = None
    instructions: str = field(default="", repr=False)
    schema: dict[str, JsonValue] | None = None
    options: ModelOptions = field(default_factory=ModelOptions)
    budget: Budget = field(default_factory=Budget)
    tools: Sequence[ToolName] = ()
    hosts: Sequence[str] | None = None
    api_key: SecretStr | None = None


@dataclass(frozen=True)
class Bounds:
    """What holds for the asking.

    Attributes:
        key: the idempotency key of the step, from which those of its tools are made.
        timeout: seconds that the attempt has.
        usage: takes in what is used up, however the asking ends.
    """

    key: str
    timeout: float
    usage: Usage
