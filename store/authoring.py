"""What its authors do to a workflow: give it another version, another status, an end.

Each locks the workflow's row first, so they come one after the other: versions are numbered
without a gap however many write at once, and whoever says which revision it has read is refused
when that is no longer the latest.
"""

from collections.abc import Collection

from pydantic import JsonValue
from sqlalchemy import bindparam, delete, select, update

from engine.errors import Stale
from engine.lifecycle import DefinitionStatus
from store import triggers, turns
from store.clock import now
from store.database import Tx
from store.tables import runs, versions, workflows
from store.values import encode
from store.workflows import (
    GET,
    Trigger,
    WorkflowRow,
    add_version,
    found,
    row_of,
    trigger_columns,
)

# Built once: making a statement costs more than carrying it out.
# `FOR NO KEY UPDATE` waits for the runs that are being started, and lets nobody start one until it
# is over. A plain `FOR UPDATE` would also wait for runs that are only written: a row that is
# changed twice in a transaction has its foreign keys looked at again.
_LOCK = GET.with_for_update(key_share=True)
_CHANGE = update(workflows).where(workflows.c.id == bindparam("workflow")).returning(workflows)
_UNPINNED = delete(versions).where(
    versions.c.workflow_id == bindparam("workflow"),
    versions.c.version.not_in(
        select(runs.c.version).where(runs.c.workflow_id == bindparam("workflow"))
    ),
)

#: Revisions that the caller has read and will have changed; None for whatever is there.
Read = Collection[str] | None


def revise(
    tx: Tx,
    org_id: str,
    workflow_id: str,
    *,
    name: str,
    description: str | None,
    definition: dict[str, JsonValue],
    change_summary: str,
    tags: list[str] | None = None,
    trigger_type: str | None = None,
    trigger: Trigger | None = None,
    read: Read = None,
) -> WorkflowRow:
    """The workflow with its next version; tags and trigger stay where none are given.

    A workflow of another `trigger_type` than `event` has no trigger.

    Raises:
        NotFound: There is no such workflow in the organisation.
        Stale: It is at none of the revisions that were read.
    """
    row = _locked(tx, org_id, workflow_id, read)
    at = _after(row)
    add_version(tx, row.id, row.version + 1, definition, change_summary, at)
    trigger_type = trigger_type or row.trigger_type
    bound = (trigger or row.trigger) if trigger_type == "event" else None
    if bound != row.trigger:
        triggers.forget_failure(tx, row.id)
    changed = _CHANGE.values(
        name=name,
        description=description,
        tags=encode([*(row.tags if tags is None else tags)]),
        trigger_type=trigger_type,
        version=row.version + 1,
        updated_at=at,
        **trigger_columns(bound),
    )
    return row_of(tx.execute(changed, {"workflow": row.id}).one())


def set_status(
    tx: Tx, org_id: str, workflow_id: str, status: DefinitionStatus, read: Read = None
) -> tuple[WorkflowRow, bool]:
    """The workflow with this status, and whether it had another one before.

    Raises:
        NotFound: There is no such workflow in the organisation.
        Stale: It is at none of the revisions that were read.
    """
    row = _locked(tx, org_id, workflow_id, read)
    if row.status == status:
        return row, False
    changed = _CHANGE.values(status=status, updated_at=_after(row))
    return row_of(tx.execute(changed, {"workflow": row.id}).one()), True


def end(tx: Tx, org_id: str, workflow_id: str, read: Read = None) -> WorkflowRow:
    """Delete the workflow; what it was. Versions that a run pins stay, the others go.

    Raises:
        NotFound: There is no such workflow in the organisation.
        Stale: It is at none of the revisions that were read.
    """
    row = _locked(tx, org_id, workflow_id, read)
    at = _after(row)
    tx.execute(_CHANGE.values(deleted_at=at, updated_at=at), {"workflow": row.id})
    tx.execute(_UNPINNED, {"workflow": row.id})
    return row


def _locked(tx: Tx, org_id: str, workflow_id: str, read: Read) -> WorkflowRow:
    turns.alone(tx, workflow_id)
    row = found(tx, _LOCK, org_id, workflow_id)
    if read is not None and row.revision not in read:
        raise Stale("The workflow has changed since it was read.")
    return row


def _after(row: WorkflowRow) -> int:
    """Now, and later than its last change, so that every change makes another revision."""
    return max(now(), row.updated_at + 1)
