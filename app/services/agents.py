"""Things done to agents: create, read, list, replace, delete."""

from dataclasses import dataclass

from app.services.auth import Caller
from engine.agent import AgentSpec
from store import agents
from store.agents import AgentRow
from store.database import Database


@dataclass(frozen=True)
class AgentPage:
    """Some agents, and how many there are in all."""

    rows: list[AgentRow]
    total: int


class Agents:
    """The agents of every organisation, each through its callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, caller: Caller, name: str, spec: AgentSpec) -> AgentRow:
        """Keep a new agent.

        Raises:
            Conflict: the organisation has one of this name.
        """
        return await self._database.write(lambda tx: agents.create(tx, caller.org_id, name, spec))

    async def get(self, caller: Caller, agent_id: str) -> AgentRow:
        """The agent.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(lambda tx: agents.get(tx, caller.org_id, agent_id))

    async def page(self, caller: Caller, limit: int, offset: int) -> AgentPage:
        """Newest first."""
        rows, total = await self._database.read(
            lambda tx: agents.page(tx, caller.org_id, limit=limit, offset=offset)
        )
        return AgentPage(rows, total)

    async def replace(self, caller: Caller, agent_id: str, name: str, spec: AgentSpec) -> AgentRow:
        """Make another agent of it; steps that begin from now on meet that one.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
            Conflict: another one has the name.
        """
        return await self._database.write(
            lambda tx: agents.replace(tx, caller.org_id, agent_id, name, spec)
        )

    async def remove(self, caller: Caller, agent_id: str) -> None:
        """Delete it; steps that name it fail from now on.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        await self._database.write(lambda tx: agents.remove(tx, caller.org_id, agent_id))
