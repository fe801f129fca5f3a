"""Things done to workflows: validate, create, read, change, compare, delete."""

import asyncio
from dataclasses import dataclass
from typing import Any

from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.schedules import Schedules
from engine import diff
from engine.catalog import Catalog
from engine.conditions import condition_problems
from engine.definition import Definition
from engine.errors import Invalid, Problem
from engine.lifecycle import DefinitionStatus
from engine.validation import Checked, check
from store import authoring, live, schedules, triggers, workflows
from store.authoring import Read
from store.database import Database, Tx
from store.runs import RunRow
from store.triggers import TriggerFailure
from store.workflows import Trigger, VersionHead, VersionRow, WorkflowRow


@dataclass(frozen=True)
class NewWorkflow:
    """What a workflow is created with; `definition` is as the author wrote it."""

    definition: dict[str, Any]
    status: DefinitionStatus
    trigger_type: str
    tags: list[str]
    trigger: Trigger | None = None


@dataclass(frozen=True)
class Edit:
    """A next version; tags and trigger stay as they are where they are None."""

    definition: dict[str, Any]
    change_summary: str
    tags: list[str] | None = None
    trigger_type: str | None = None
    trigger: Trigger | None = None


@dataclass(frozen=True)
class Difference:
    """What leads from one version to another: RFC 6902 operations, and a sentence."""

    operations: list[diff.Operation]
    summary: str


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

    def __init__(
        self, database: Database, catalog: Catalog, dispatch: Dispatch, schedules: Schedules
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._dispatch = dispatch
        self._schedules = schedules

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
            Invalid: the definition or the trigger is not valid; `problems` says all that is wrong.
        """
        definition = await self._valid(new.definition, new.trigger_type, new.trigger)

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
                trigger=new.trigger,
            )

        return await self._database.write(work)

    async def _valid(
        self, definition: dict[str, Any], trigger_type: str | None, trigger: Trigger | None
    ) -> Definition:
        checked = await self.validate(definition)
        wrong = await asyncio.to_thread(_trigger_problems, trigger_type, trigger)
        if checked.definition is None or wrong:
            what = "trigger" if checked.definition else "definition"
            raise Invalid(f"The {what} is not valid.", problems=[*checked.problems, *wrong])
        return checked.definition

    async def get(self, caller: Caller, workflow_id: str) -> tuple[WorkflowRow, dict[str, Any]]:
        """The workflow and its latest definition.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> tuple[WorkflowRow, dict[str, Any]]:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return row, workflows.version(tx, row.id, row.version).definition

        return await self._database.read(work)

    async def trigger_failure(self, row: WorkflowRow) -> TriggerFailure | None:
        """The last event that should have started the workflow and could not."""
        if row.trigger is None:
            return None
        return await self._database.read(lambda tx: triggers.last_failure(tx, row.id))

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

    async def revise(
        self, caller: Caller, workflow_id: str, edit: Edit, read: Read = None
    ) -> WorkflowRow:
        """Keep the next version, also when it is like the last one.

        Args:
            caller: whose workflow it is.
            workflow_id: the workflow.
            edit: what is new.
            read: revisions, one of which it has to be at; None for whatever it is at.

        Raises:
            NotFound: there is no such workflow.
            Invalid: the definition or the trigger is not valid.
            Stale: somebody else has changed the workflow since it was read.
        """
        definition = await self._valid(edit.definition, edit.trigger_type, edit.trigger)
        return await self._database.write(
            lambda tx: authoring.revise(
                tx,
                caller.org_id,
                workflow_id,
                name=definition.name,
                description=definition.description,
                definition=edit.definition,
                change_summary=edit.change_summary,
                tags=edit.tags,
                trigger_type=edit.trigger_type,
                trigger=edit.trigger,
                read=read,
            )
        )

    async def roll_back(
        self,
        caller: Caller,
        workflow_id: str,
        version: int,
        change_summary: str | None,
        read: Read = None,
    ) -> tuple[WorkflowRow, dict[str, Any]]:
        """Make an earlier definition the next version; the workflow and that definition.

        Raises:
            NotFound: there is no such workflow, or it has no such version.
            Invalid: the definition is not valid any more.
            Stale: somebody else has changed the workflow since it was read.
        """
        earlier = await self.version(caller, workflow_id, version)
        edit = Edit(earlier.definition, change_summary or f"Rolled back to version {version}")
        return await self.revise(caller, workflow_id, edit, read), earlier.definition

    async def set_status(
        self, caller: Caller, workflow_id: str, status: DefinitionStatus, read: Read = None
    ) -> tuple[WorkflowRow, dict[str, Any]]:
        """Give the workflow a status; with `paused`, pause its runs. It and its definition.

        Raises:
            NotFound: there is no such workflow.
            Stale: somebody else has changed the workflow since it was read.
        """

        def work(tx: Tx) -> tuple[WorkflowRow, dict[str, Any], list[RunRow]]:
            row, changed = authoring.set_status(tx, caller.org_id, workflow_id, status, read)
            pauses = changed and status is DefinitionStatus.PAUSED
            told = live.pause_all(tx, caller.org_id, row.id) if pauses else []
            if changed:
                schedules.touch_of_workflow(tx, row.id)
            return row, workflows.version(tx, row.id, row.version).definition, told

        row, definition, told = await self._database.write(work)
        await self._dispatch.tell(told)
        await self._schedules.sync(row.id)
        return row, definition

    async def delete(self, caller: Caller, workflow_id: str, read: Read = None) -> None:
        """Delete the workflow and what would start it, and cancel its runs.

        Raises:
            NotFound: there is no such workflow.
            Stale: somebody else has changed the workflow since it was read.
        """
        told = await self._database.write(lambda tx: _delete(tx, caller.org_id, workflow_id, read))
        await self._dispatch.tell(told)
        await self._schedules.sync(workflow_id)

    async def versions(
        self, caller: Caller, workflow_id: str, limit: int, offset: int
    ) -> tuple[list[VersionHead], int]:
        """The versions, newest first, and how many there are in all.

        Raises:
            NotFound: there is no such workflow.
        """

        def work(tx: Tx) -> tuple[list[VersionHead], int]:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return workflows.version_page(tx, row.id, limit=limit, offset=offset)

        return await self._database.read(work)

    async def version(self, caller: Caller, workflow_id: str, version: int) -> VersionRow:
        """One version.

        Raises:
            NotFound: there is no such workflow, or it has no such version.
        """

        def work(tx: Tx) -> VersionRow:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return workflows.version(tx, row.id, version)

        return await self._database.read(work)

    async def difference(self, caller: Caller, workflow_id: str, old: int, new: int) -> Difference:
        """What leads from one version to the other.

        Raises:
            NotFound: there is no such workflow, or it lacks one of the versions.
        """

        def work(tx: Tx) -> tuple[VersionRow, VersionRow]:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return workflows.version(tx, row.id, old), workflows.version(tx, row.id, new)

        def compare(before: dict[str, Any], after: dict[str, Any]) -> Difference:
            return Difference(diff.diff(before, after), diff.summary(before, after))

        before, after = await self._database.read(work)
        return await asyncio.to_thread(compare, before.definition, after.definition)


def _trigger_problems(trigger_type: str | None, trigger: Trigger | None) -> list[Problem]:
    if trigger is None:
        return []
    if trigger_type != "event":
        return [Problem("trigger: goes with the trigger_type 'event'", path="trigger")]
    return condition_problems(trigger.conditions, "trigger.conditions")


def _delete(tx: Tx, org_id: str, workflow_id: str, read: Read) -> list[RunRow]:
    """All that goes with a workflow, in one transaction; the runs that Temporal has to learn of."""
    row = authoring.end(tx, org_id, workflow_id, read)
    schedules.delete_of_workflow(tx, row.id)
    return live.cancel_all(tx, org_id, row.id)
