"""Workflows and their versions. A version never changes; the row only names the newest."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from engine.errors import NotFound
from store import turns
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.tables import versions, workflows
from store.values import decode, decode_object, decode_strings, encode

# Built once: making a statement costs more than carrying it out.
_DEFINITION = select(versions.c.definition).where(
    versions.c.workflow_id == bindparam("workflow"), versions.c.version == bindparam("version")
)
GET = select(workflows).where(
    workflows.c.id == bindparam("workflow"),
    workflows.c.org_id == bindparam("org"),
    workflows.c.deleted_at.is_(None),
)
# `FOR SHARE`: runs that start do not wait for each other.
_HOLD = GET.with_for_update(read=True)


@dataclass(frozen=True)
class Trigger:
    """The event that starts a workflow; `conditions` are as `engine.conditions` takes them."""

    event: str
    conditions: JsonValue


@dataclass(frozen=True)
class WorkflowRow:
    """A workflow. Times are microseconds UTC; `version` is the newest one's number."""

    id: str
    org_id: str
    name: str
    description: str | None
    status: str
    trigger_type: str
    tags: list[str]
    version: int
    created_at: int
    updated_at: int
    trigger: Trigger | None = None

    @property
    def revision(self) -> str:
        """Another one after every change of the workflow, whatever it was."""
        return f"{self.version}-{self.updated_at}"


@dataclass(frozen=True)
class VersionHead:
    """One version without its definition, as in lists."""

    version: int
    change_summary: str
    created_at: int


@dataclass(frozen=True)
class VersionRow:
    """One version of a workflow's definition."""

    workflow_id: str
    version: int
    definition: dict[str, JsonValue]
    change_summary: str
    created_at: int


def create(
    tx: Tx,
    org_id: str,
    *,
    name: str,
    description: str | None,
    definition: dict[str, JsonValue],
    status: str,
    trigger_type: str,
    tags: list[str],
    trigger: Trigger | None = None,
    change_summary: str = "Initial version",
) -> WorkflowRow:
    """A new workflow and its version 1."""
    at = now()
    row = tx.execute(
        workflows.insert()
        .values(
            id=new_id(),
            org_id=org_id,
            name=name,
            description=description,
            status=status,
            trigger_type=trigger_type,
            tags=encode([*tags]),
            version=1,
            created_at=at,
            updated_at=at,
            **trigger_columns(trigger),
        )
        .returning(workflows)
    ).one()
    add_version(tx, row.id, 1, definition, change_summary, at)
    return row_of(row)


def add_version(
    tx: Tx,
    workflow_id: str,
    version: int,
    definition: dict[str, JsonValue],
    change_summary: str,
    at: int,
) -> None:
    """Keep a version; whoever counts on has locked the workflow's row."""
    tx.execute(
        versions.insert().values(
            workflow_id=workflow_id,
            version=version,
            definition=encode(definition),
            change_summary=change_summary,
            created_at=at,
        )
    )


def get(tx: Tx, org_id: str, workflow_id: str) -> WorkflowRow:
    """The workflow.

    Raises:
        NotFound: There is none, or it is another organisation's, or it was deleted.
    """
    return found(tx, GET, org_id, workflow_id)


def hold(tx: Tx, org_id: str, workflow_id: str) -> WorkflowRow:
    """The workflow, whose status stays and which is not deleted until the transaction ends.

    For whoever starts or resumes a run of it: a workflow that is paused or deleted at the same
    time is either found so here, or finds the run.

    Raises:
        NotFound: There is none, or it is another organisation's, or it was deleted.
    """
    turns.share(tx, workflow_id)
    return found(tx, _HOLD, org_id, workflow_id)


def held(tx: Tx, org_id: str, workflow_id: str) -> WorkflowRow | None:
    """The same for whoever has found the workflow just now; None when it was deleted meanwhile."""
    turns.share(tx, workflow_id)
    row = tx.execute(_HOLD, {"workflow": workflow_id, "org": org_id}).one_or_none()
    return None if row is None else row_of(row)


def input_schema(tx: Tx, workflow_id: str, version: int) -> dict[str, JsonValue] | None:
    """What the input of the version's runs has to fit; None when anything will do.

    Raises:
        NotFound: The workflow has no such version.
    """
    schema = decode_object(definition_text(tx, workflow_id, version)).get("input_schema")
    return schema if isinstance(schema, dict) else None


def found(tx: Tx, query: Select[Any], org_id: str, workflow_id: str) -> WorkflowRow:
    """What a variant of `GET` finds.

    Raises:
        NotFound: There is none, or it is another organisation's, or it was deleted.
    """
    row = tx.execute(query, {"workflow": workflow_id, "org": org_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such workflow.", code="workflow_not_found")
    return row_of(row)


def named(tx: Tx, org_id: str, name: str) -> WorkflowRow | None:
    """The workflow of exactly this name, for callers who know of no ids.

    Names are not unique: an active one goes before all others and an archived one after them, then
    the one that was changed last goes first. Source: contracts A-q7 and A-q8.
    """
    rank = case((workflows.c.status == "active", 0), (workflows.c.status == "archived", 2), else_=1)
    row = tx.execute(
        select(workflows)
        .where(*_called(org_id, name))
        .order_by(rank, workflows.c.updated_at.desc(), workflows.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else row_of(row)


def ids_named(tx: Tx, org_id: str, name: str) -> list[str]:
    """The ids of all workflows of exactly this name."""
    return [*tx.execute(select(workflows.c.id).where(*_called(org_id, name))).scalars()]


def _called(org_id: str, name: str) -> tuple[ColumnElement[bool], ...]:
    return (
        workflows.c.org_id == org_id,
        workflows.c.name == name,
        workflows.c.deleted_at.is_(None),
    )


def names(tx: Tx, workflow_ids: Collection[str]) -> dict[str, str]:
    """What those of the workflows are called that were not deleted, whosever they are."""
    there = select(workflows.c.id, workflows.c.name).where(
        workflows.c.id.in_(workflow_ids), workflows.c.deleted_at.is_(None)
    )
    return {row.id: row.name for row in tx.execute(there)}


def gone(tx: Tx, workflow_ids: Collection[str]) -> frozenset[str]:
    """Those of the workflows that were deleted, whosever they are."""
    deleted = select(workflows.c.id).where(
        workflows.c.id.in_(workflow_ids), workflows.c.deleted_at.is_not(None)
    )
    return frozenset(tx.execute(deleted).scalars())


def find(tx: Tx, org_id: str, named: str) -> WorkflowRow | None:
    """The workflow of this id (`wf_` and 32 hex digits, or the digits alone) or exact name.

    Names are not unique: an active one goes before a draft and that before all others, then the one
    that was changed last. Source: contracts A-q7.
    """
    rank = case((workflows.c.status == "active", 0), (workflows.c.status == "draft", 1), else_=2)
    row = tx.execute(
        select(workflows)
        .where(
            workflows.c.org_id == org_id,
            workflows.c.deleted_at.is_(None),
            or_(workflows.c.id == named.removeprefix("wf_"), workflows.c.name == named),
        )
        .order_by(workflows.c.name == named, rank, workflows.c.updated_at.desc(), workflows.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else row_of(row)


def page(
    tx: Tx,
    org_id: str,
    *,
    statuses: Collection[str] | None = None,
    trigger_type: str | None = None,
    tag: str | None = None,
    limit: int,
    offset: int,
) -> tuple[list[WorkflowRow], int]:
    """A page of the organisation's workflows, newest first, and how many there are in all."""
    wanted = [workflows.c.org_id == org_id, workflows.c.deleted_at.is_(None)]
    if statuses is not None:
        wanted.append(workflows.c.status.in_(statuses))
    if trigger_type is not None:
        wanted.append(workflows.c.trigger_type == trigger_type)
    if tag is not None:
        wanted.append(_tagged(tx, tag))
    rows = tx.execute(
        select(workflows)
        .where(*wanted)
        .order_by(workflows.c.created_at.desc(), workflows.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(workflows).where(*wanted)).scalar_one()
    return [row_of(row) for row in rows], total


def version_page(
    tx: Tx, workflow_id: str, *, limit: int, offset: int
) -> tuple[list[VersionHead], int]:
    """A page of the versions of a workflow, newest first, and how many there are in all.

    It asks for no organisation: the caller has got the workflow.
    """
    mine = versions.c.workflow_id == workflow_id
    rows = tx.execute(
        select(versions.c.version, versions.c.change_summary, versions.c.created_at)
        .where(mine)
        .order_by(versions.c.version.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(versions).where(mine)).scalar_one()
    return [VersionHead(*row) for row in rows], total


def version(tx: Tx, workflow_id: str, version: int) -> VersionRow:
    """One version, also of a deleted workflow, since a run may still pin it.

    It asks for no organisation: the caller has got the workflow, or a run that pins the version.

    Raises:
        NotFound: The workflow has no such version.
    """
    row = tx.execute(
        select(versions).where(versions.c.workflow_id == workflow_id, versions.c.version == version)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such version.", code="version_not_found")
    return VersionRow(
        workflow_id=row.workflow_id,
        version=row.version,
        definition=decode_object(row.definition),
        change_summary=row.change_summary,
        created_at=row.created_at,
    )


def definition_text(tx: Tx, workflow_id: str, version: int) -> str:
    """The definition of a version as JSON text, for a reader that parses it in its own way.

    Raises:
        NotFound: The workflow has no such version.
    """
    found = tx.scalar(_DEFINITION, {"workflow": workflow_id, "version": version})
    if found is None:
        raise NotFound("There is no such version.", code="version_not_found")
    return str(found)


def _tagged(tx: Tx, tag: str) -> ColumnElement[bool]:
    if tx.dialect.name == "postgresql":
        return func.jsonb_exists(cast(workflows.c.tags, JSONB), cast(literal(tag), Text))
    each = func.json_each(workflows.c.tags).table_valued("value")
    return exists(select(1).select_from(each).where(each.c.value == tag))


def trigger_columns(trigger: Trigger | None) -> dict[str, str | None]:
    """The columns that hold a trigger, or that there is none."""
    conditions = None if trigger is None else trigger.conditions
    return {
        "trigger_event": None if trigger is None else trigger.event,
        "trigger_conditions": None if conditions is None else encode(conditions),
    }


def _trigger_of(row: Row[Any]) -> Trigger | None:
    if row.trigger_event is None:
        return None
    conditions = row.trigger_conditions
    return Trigger(row.trigger_event, None if conditions is None else decode(conditions))


def row_of(row: Row[Any]) -> WorkflowRow:
    """A row of the table, as this room passes it on."""
    return WorkflowRow(
        id=row.id,
        org_id=row.org_id,
        name=row.name,
        description=row.description,
        status=row.status,
        trigger_type=row.trigger_type,
        tags=decode_strings(row.tags),
        version=row.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        trigger=_trigger_of(row),
    )
