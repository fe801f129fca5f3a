"""What the latest definition of a workflow says, for whoever does not read all of it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, cast, func, select
from sqlalchemy.dialects.postgresql import JSON

from engine.lifecycle import DefinitionStatus
from store.database import Tx
from store.tables import runs, versions, workflows
from store.workflows import WorkflowRow

#: When the latest of a workflow's runs began that has left the queue.
_LAST_RUN_AT = (
    select(runs.c.started_at)
    .where(runs.c.workflow_id == workflows.c.id, runs.c.started_at.is_not(None))
    .order_by(runs.c.created_at.desc(), runs.c.id.desc())
    .limit(1)
    .correlate(workflows)
    .scalar_subquery()
)


@dataclass(frozen=True)
class Summary:
    """A workflow's latest definition and run in short.

    Attributes:
        steps: how many there are, those in loop bodies not counted.
        entity_type: the id of the type whose entities it is for; None when it is for none.
        last_run_at: when the latest run that has left the queue began, in microseconds UTC.
    """

    steps: int
    entity_type: str | None
    last_run_at: int | None


def summaries(tx: Tx, workflow_ids: Collection[str]) -> dict[str, Summary]:
    """What there is to say of these workflows, whosever they are, by id."""
    steps, entity_type = _parts(tx)
    rows = tx.execute(
        select(workflows.c.id, steps, entity_type, _LAST_RUN_AT)
        .join(
            versions,
            and_(
                versions.c.workflow_id == workflows.c.id,
                versions.c.version == workflows.c.version,
            ),
        )
        .where(workflows.c.id.in_(workflow_ids))
    )
    return {workflow_id: Summary(*said) for workflow_id, *said in rows}


def entity_type(tx: Tx, row: WorkflowRow) -> str | None:
    """The id of the type whose entities the workflow is for; None when it is for none."""
    found: str | None = tx.execute(
        select(_parts(tx)[1]).where(
            versions.c.workflow_id == row.id, versions.c.version == row.version
        )
    ).scalar_one()
    return found


def over_type(tx: Tx, org_id: str, type_id: str) -> list[str]:
    """The names of the workflows that run over entities of the type, by name.

    What is archived or deleted does not, nor do earlier versions.
    """
    latest = and_(
        versions.c.workflow_id == workflows.c.id, versions.c.version == workflows.c.version
    )
    rows = tx.execute(
        select(workflows.c.name)
        .join(versions, latest)
        .where(
            workflows.c.org_id == org_id,
            workflows.c.deleted_at.is_(None),
            workflows.c.status != DefinitionStatus.ARCHIVED,
            _parts(tx)[1] == type_id,
        )
        .order_by(workflows.c.name, workflows.c.id)
    )
    return [*rows.scalars()]


def _parts(tx: Tx) -> tuple[ColumnElement[int], ColumnElement[Any]]:
    """The number of steps and the type of entities, read by the database out of the text."""
    text = versions.c.definition
    if tx.dialect.name == "postgresql":
        # It refuses to look into what holds a NUL; that it is one makes no difference here. An
        # escape for another keeps JSON valid, also where the backslash is itself an escaped one.
        document = cast(func.replace(text, r"\u0000", r"\u0020"), JSON)
        steps = func.json_array_length(document.op("->")("steps"))
        return steps, document.op("->>")("entity_type")
    return func.json_array_length(text, "$.steps"), func.json_extract(text, "$.entity_type")
