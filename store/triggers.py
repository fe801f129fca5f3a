"""Workflows that an event starts, and the last event that should have and could not."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import bindparam, delete, select

from engine.lifecycle import DefinitionStatus
from store import turns
from store import workflows as workflow_rows
from store.clock import MINUTE, now
from store.database import Tx, insert
from store.record_tables import trigger_failures
from store.tables import workflows
from store.workflows import WorkflowRow, row_of

# Built once: making a statement costs more than carrying it out.
_MINE = (
    workflows.c.org_id == bindparam("org"),
    workflows.c.trigger_event.in_(bindparam("names", expanding=True)),
    workflows.c.status == DefinitionStatus.ACTIVE,
    workflows.c.deleted_at.is_(None),
)
_IDS = select(workflows.c.id).where(*_MINE).order_by(workflows.c.id)
# In one order, as `store.workflows.hold` does.
_BOUND = (
    select(workflows)
    .where(*_MINE, workflows.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(workflows.c.id)
    .with_for_update(read=True)
)
#: Microseconds for which the first failure of a workflow is the one that is told.
_TOLD_FOR = MINUTE


@dataclass(frozen=True)
class Bound:
    """An active workflow that an event starts, and what the input of its runs has to fit."""

    workflow: WorkflowRow
    input_schema: dict[str, JsonValue] | None


@dataclass(frozen=True)
class TriggerFailure:
    """Why an event did not start a workflow as it should have; `at` is microseconds UTC."""

    event_id: str
    message: str
    at: int


def bound(tx: Tx, org_id: str, names: Collection[str]) -> dict[str, list[Bound]]:
    """The active workflows that events of these names start, by name.

    They stay active and as they are until the transaction ends.
    """
    found: dict[str, list[Bound]] = {}
    mine = {"org": org_id, "names": sorted(names)}
    ids = tx.execute(_IDS, mine).scalars().all()
    for workflow_id in ids:
        turns.share(tx, workflow_id)
    for row in tx.execute(_BOUND, mine | {"ids": ids}).all() if ids else ():
        workflow = row_of(row)
        schema = workflow_rows.input_schema(tx, workflow.id, workflow.version)
        found.setdefault(row.trigger_event, []).append(Bound(workflow, schema))
    return found


def note_failures(tx: Tx, failures: Mapping[str, tuple[str, str]]) -> None:
    """Keep why events did not start workflows: event id and message, by the workflow's id.

    One a minute and workflow, so that a flood of events writes no flood of rows.
    """
    at = now()
    for workflow_id, (event_id, message) in sorted(failures.items()):
        statement = insert(tx, trigger_failures).values(
            workflow_id=workflow_id, event_id=event_id, message=message, at=at
        )
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=["workflow_id"],
                set_={name: statement.excluded[name] for name in ("event_id", "message", "at")},
                where=trigger_failures.c.at <= at - _TOLD_FOR,
            )
        )


def last_failure(tx: Tx, workflow_id: str) -> TriggerFailure | None:
    """The last event that should have started the workflow and could not."""
    row = tx.execute(
        select(trigger_failures).where(trigger_failures.c.workflow_id == workflow_id)
    ).one_or_none()
    return None if row is None else TriggerFailure(row.event_id, row.message, row.at)


def forget_failure(tx: Tx, workflow_id: str) -> None:
    """Forget what was said of another trigger."""
    tx.execute(delete(trigger_failures).where(trigger_failures.c.workflow_id == workflow_id))
