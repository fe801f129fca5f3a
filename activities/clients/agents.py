"""Finds the agents that steps name."""

import re

from engine.agent import AgentSpec
from engine.errors import StepError
from store import agents
from store.database import Database

_ID = re.compile(r"agent_([0-9a-f]{32})")


class Agents:
    """The agents of every organisation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, org_id: str, named: str) -> AgentSpec:
        """The agent of this id or name, as it is now.

        Raises:
            StepError: `agent_not_found`, not retryable.
            Unavailable: the database does not answer.
        """
        identity = _ID.fullmatch(named)
        row = await self._database.read(
            lambda tx: agents.find(tx, org_id, identity.group(1) if identity else "-", named)
        )
        if row is None:
            raise StepError(
                "agent_not_found", f"There is no agent '{named[:100]}'.", retryable=False
            )
        return row.spec
