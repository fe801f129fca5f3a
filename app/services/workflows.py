"""Things done to workflows: validate, create, read, list."""

import asyncio
from dataclasses import dataclass
from typing import Any

from app.services.auth import Caller
from engine.catalog import Catalog
from engine.errors import Invalid, Problem
from engine.lifecycle import DefinitionStatus
from engine.validation import Checked, check
from store import workflows
from store.database import Database, Tx
from store.workflows import WorkflowRow


@dataclass(frozen=True)
class NewWorkflow:
    """What a workflow is created with; `definition` is as the author wrote it."""

    definition: dict[str, Any]
    status: DefinitionStatus
    trigger_type: str
    tags: list[str]


@dataclass(frozen=True)
class Page:
    """Some workflows, and how many there are in all."""

    rows: list[WorkflowRow]
    total: int


@dataclass(frozen=True)
class Filter:
    """Which workflows are wanted; None for any."""

    status: DefinitionStatus | None
    trigger_type: str | None
    tag: str | None
    limit: int
    offset: int


class Workflows:
    """The workflows of every organisation, each through its callers."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    async def validate(self, definition: dict[str, Any]) -> Checked:
        """Everything that is wrong with a definition; nothing is executed or kept."""
        checked = await asyncio.to_thread(check, definition, self._catalog)
        unkept = [
            # PostgreSQL has no place for it in a text column.
            Problem(f"The {key} has a NUL character.", path=key)
            for key in ("name", "description")
            if "\0" in str(definition.get(key))
        ]
        return Checked(None, checked.problems + unkept) if unkept else checked

    async def create(self, caller: Caller, new: NewWorkflow) -> WorkflowRow:
        """Keep a new workflow and its version 1.

        Raises:
            Invalid: the definition is not valid; `problems` are those of `validate`.
        """
        checked = await self.validate(new.definition)
        definition = checked.definition
        if definition is None:
            raise Invalid("The definition is not valid.", problems=checked.problems)

        def work(tx: Tx) -> WorkflowRow:
            return workflows.create(
                tx,
                caller.org_id,
                name=definition.name,
                description=definition.description,
                definition=new.definition,
                status=new.status,
                trigger_type=new.trigger_type,
                tags=new.tags,
            )

        return await self._database.write(work)

    async def get(self, caller: Caller, workflow_id: str) -> tuple[WorkflowRow, dict[str, Any]]:
        """The workflow and its latest definition.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> tuple[WorkflowRow, dict[str, Any]]:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return row, workflows.version(tx, row.id, row.version).definition

        return await self._database.read(work)

    async def page(self, caller: Caller, wanted: Filter) -> Page:
        """Newest first."""
        rows, total = await self._database.read(
            lambda tx: workflows.page(
                tx,
                caller.org_id,
                status=wanted.status,
                trigger_type=wanted.trigger_type,
                tag=wanted.tag,
                limit=wanted.limit,
                offset=wanted.offset,
            )
        )
        return Page(rows, total)
