"""Things done to workflows: validate, create, read, change, compare, delete."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from app.services import subjects
from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.once import Answered, Once, keep, recall
from app.services.schedules import Schedules
from engine import diff
from engine.catalog import Catalog
from engine.conditions import condition_problems
from engine.definition import Definition
from engine.errors import Invalid, Problem
from engine.lifecycle import DefinitionStatus
from engine.validation import Checked, check
from store import authoring, latest, live, schedules, triggers, workflows
from store.authoring import Read
from store.database import Database, Tx
from store.latest import Summary
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

    statuses: Collection[DefinitionStatus] | None
    trigger_type: str | None
    tag: str | None
    limit: int
    offset: int


#: A workflow and a definition of it, as it is kept.
Authored = tuple[WorkflowRow, dict[str, Any]]


class Workflows:
    """The workflows of every organisation, each through its callers."""

    def __init__(
        self, database: Database, catalog: Catalog, dispatch: Dispatch, schedules: Schedules
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._dispatch = dispatch
        self._schedules = schedules

    async def validate(self, caller: Caller, definition: dict[str, Any]) -> Checked:
        """Everything that is wrong with a definition; nothing is executed or kept."""
        checked = await asyncio.to_thread(check, definition, self._catalog)
        more = [
            # PostgreSQL has no place for it in a text column.
            Problem(f"The {key} has a NUL character.", path=key)
            for key in ("name", "description")
            if "\0" in str(definition.get(key))
        ]
        named = definition.get("entity_type")
        if named is not None:
            more += await self._database.read(
                lambda tx: subjects.type_problems(tx, caller.org_id, named)
            )
        return Checked(None, checked.problems + more) if more else checked

    async def create(self, caller: Caller, new: NewWorkflow) -> Authored:
        """Keep a new workflow and its version 1.

        Raises:
            Invalid: the definition or the trigger is not valid; `problems` says all that is wrong.
        """
        valid = await self.valid(caller, new.definition, new.trigger_type, new.trigger)
        return await self._database.write(lambda tx: _create(tx, caller.org_id, new, valid))

    async def create_once(
        self,
        caller: Caller,
        new: NewWorkflow,
        once: Once | None,
        answer: Callable[[WorkflowRow, dict[str, Any]], Answered],
    ) -> Answered:
        """The same, where a key may come twice.

        Args:
            caller: whose workflow it will be.
            new: what it is created with.
            once: when given, the same key within 24 h makes nothing and gets the first answer.
            answer: makes the answer, which is kept in the same transaction.

        Raises:
            Invalid: as above, or the key came before with another body (`idempotency_key_reused`).
        """
        valid = await self.valid(caller, new.definition, new.trigger_type, new.trigger)

        def work(tx: Tx) -> Answered:
            if earlier := recall(tx, caller.org_id, once):
                return earlier
            answered = answer(*_create(tx, caller.org_id, new, valid))
            keep(tx, caller.org_id, once, answered)
            return answered

        return await self._database.write(work)

    async def valid(
        self,
        caller: Caller,
        definition: dict[str, Any],
        trigger_type: str | None,
        trigger: Trigger | None,
    ) -> Definition:
        """The definition, if nothing is wrong with it and the trigger.

        Raises:
            Invalid: something is.
        """
        checked = await self.validate(caller, definition)
        wrong = await asyncio.to_thread(_trigger_problems, trigger_type, trigger)
        wrong += subjects.starter_problems(definition, trigger_type)
        if checked.definition is None or wrong:
            what = "trigger" if checked.definition else "definition"
            raise Invalid(f"The {what} is not valid.", problems=[*checked.problems, *wrong])
        return checked.definition

    async def get(self, caller: Caller, workflow_id: str) -> Authored:
        """The workflow and its latest definition.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> Authored:
            row = workflows.get(tx, caller.org_id, workflow_id)
            return row, workflows.version(tx, row.id, row.version).definition

        return await self._database.read(work)

    async def with_summary(
        self, caller: Caller, workflow_id: str
    ) -> tuple[WorkflowRow, dict[str, Any], Summary]:
        """The same, and what there is to say of it in short.

        Raises:
            NotFound: as above.
        """

        def work(tx: Tx) -> tuple[WorkflowRow, dict[str, Any], Summary]:
            row = workflows.get(tx, caller.org_id, workflow_id)
            definition = workflows.version(tx, row.id, row.version).definition
            return row, definition, latest.summaries(tx, [row.id])[row.id]

        return await self._database.read(work)

    async def trigger_failure(self, row: WorkflowRow) -> TriggerFailure | None:
        """The last event that should have started the workflow and could not."""
        if row.trigger is None:
            return None
        return await self._database.read(lambda tx: triggers.last_failure(tx, row.id))

    async def page(self, caller: Caller, wanted: Filter) -> Page:
        """Newest first."""
        return await self._database.read(lambda tx: _page(tx, caller.org_id, wanted))

    async def summaries(self, caller: Caller, wanted: Filter) -> tuple[Page, dict[str, Summary]]:
        """The same, and what there is to say in short of each by its id."""

        def work(tx: Tx) -> tuple[Page, dict[str, Summary]]:
            page = _page(tx, caller.org_id, wanted)
            return page, latest.summaries(tx, [row.id for row in page.rows])

        return await self._database.read(work)

    async def revise(
        self, caller: Caller, workflow_id: str, edit: Edit, read: Read = None
    ) -> Authored:
        """Keep the next version, also when it is like the last one; the workflow and that version.

        Args:
            caller: whose workflow it is.
            workflow_id: the workflow.
            edit: what is new.
            read: revisions, one of which it has to be at; None for whatever it is at.

        Raises:
            NotFound: there is no such workflow.
            Invalid: the definition or the trigger is not valid.
            Conflict: it is for entities, and the workflow has schedules.
            Stale: somebody else has changed the workflow since it was read.
        """
        valid = await self.valid(caller, edit.definition, edit.trigger_type, edit.trigger)

        def work(tx: Tx) -> Authored:
            definition = subjects.with_type_id(tx, caller.org_id, edit.definition)
            row = authoring.revise(
                tx,
                caller.org_id,
                workflow_id,
                name=valid.name,
                description=valid.description,
                definition=definition,
                change_summary=edit.change_summary,
                tags=edit.tags,
                trigger_type=edit.trigger_type,
                trigger=edit.trigger,
                read=read,
            )
            subjects.require_by_hand(tx, row, definition)
            return row, definition

        return await self._database.write(work)

    async def roll_back(
        self,
        caller: Caller,
        workflow_id: str,
        version: int,
        change_summary: str | None,
        read: Read = None,
    ) -> Authored:
        """Make an earlier definition the next version; the workflow and that definition.

        Raises:
            NotFound: there is no such workflow, or it has no such version.
            Invalid: the definition is not valid any more.
            Conflict: it is for entities, and the workflow has schedules.
            Stale: somebody else has changed the workflow since it was read.
        """
        earlier = await self.version(caller, workflow_id, version)
        edit = Edit(earlier.definition, change_summary or f"Rolled back to version {version}")
        return await self.revise(caller, workflow_id, edit, read)

    async def set_status(
        self, caller: Caller, workflow_id: str, status: DefinitionStatus, read: Read = None
    ) -> Authored:
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


def _page(tx: Tx, org_id: str, wanted: Filter) -> Page:
    rows, total = workflows.page(
        tx,
        org_id,
        statuses=wanted.statuses,
        trigger_type=wanted.trigger_type,
        tag=wanted.tag,
        limit=wanted.limit,
        offset=wanted.offset,
    )
    return Page(rows, total)


def _create(tx: Tx, org_id: str, new: NewWorkflow, valid: Definition) -> Authored:
    definition = subjects.with_type_id(tx, org_id, new.definition)
    row = workflows.create(
        tx,
        org_id,
        name=valid.name,
        description=valid.description,
        definition=definition,
        status=new.status,
        trigger_type=new.trigger_type,
        tags=new.tags,
        trigger=new.trigger,
    )
    return row, definition


def _delete(tx: Tx, org_id: str, workflow_id: str, read: Read) -> list[RunRow]:
    """All that goes with a workflow, in one transaction; the runs that Temporal has to learn of."""
    row = authoring.end(tx, org_id, workflow_id, read)
    schedules.delete_of_workflow(tx, row.id)
    return live.cancel_all(tx, org_id, row.id)
