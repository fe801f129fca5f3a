"""What the author of a workflow for entities should look at once more."""

import asyncio
from typing import Any

from app.services.auth import Caller
from engine.advice import advice
from engine.catalog import Catalog
from engine.errors import NotFound, Problem
from engine.records import slug_in
from store import entity_types
from store.database import Database, Tx
from store.entity_types import TypeRow


class Advice:
    """Says it of the workflows of every organisation, each to its callers."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    async def of(self, caller: Caller, definition: dict[str, Any]) -> list[Problem]:
        """What is kept in a definition and has no effect, or names fields that its type lacks.

        Args:
            caller: whose workflow it is.
            definition: its `entity_type` by id or name. Of one that is not valid, nothing is said
                that matters.
        """
        named = str(definition["entity_type"])

        def kind(tx: Tx) -> TypeRow | None:
            try:
                return entity_types.get(tx, caller.org_id, named if named.isprintable() else "")
            except NotFound:
                return None

        row = await self._database.read(kind)
        if row is None:
            return []
        fields = {slug_in(field) for field in row.definitions or ()} or None
        return await asyncio.to_thread(advice, definition, self._catalog, row.name, fields)
