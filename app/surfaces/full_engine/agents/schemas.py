"""What is taken and answered about agents."""

import re
from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, StringConstraints
from typing_extensions import TypedDict

from engine.agent import AgentSpec

AgentId = Annotated[str, Path(description="`agent_` and 32 hex digits.")]
_LIKE_AN_ID = re.compile(r"agent_[0-9a-f]{32}")


def _is_no_id(name: str) -> str:
    if _LIKE_AN_ID.fullmatch(name):
        raise ValueError("a name must not look like an id")
    return name


Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$"),
    AfterValidator(_is_no_id),
]


class AgentIn(AgentSpec):
    """An agent, as it is created and replaced."""

    name: Name

    def spec(self) -> AgentSpec:
        """All of it but the name."""
        return AgentSpec.model_validate(self.model_dump(exclude={"name"}))


class SettingsOut(TypedDict):
    """How the model is asked; null is left to the provider."""

    temperature: float | None
    max_output_tokens: int | None


class BudgetOut(TypedDict):
    """What one attempt may use up; null for no bound of its own."""

    max_requests: int | None
    max_total_tokens: int | None
    max_seconds: float | None


class AgentOut(TypedDict):
    """An agent."""

    id: str
    name: str
    model: str | None
    instructions: str
    tools: list[str]
    hosts: list[str] | None
    secret: str | None
    settings: SettingsOut
    budget: BudgetOut
    output_schema: dict[str, Any] | None
    created_at: str
    updated_at: str


class CreatedAgentOut(TypedDict):
    """An agent that was created."""

    id: str
    agent: AgentOut


class OneAgentOut(TypedDict):
    """One agent."""

    agent: AgentOut


class AgentsOut(TypedDict):
    """A page of agents; `total` counts all pages."""

    agents: list[AgentOut]
    total: int


class DeletedOut(TypedDict):
    """Gone."""

    deleted: bool
