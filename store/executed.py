"""The steps that a run has executed, as a list that grows: what `/v1` shows of a run.

What has not begun is not in it, nor what its condition or the branch before it has left out. The
steps of loop bodies are: the first `MOST_INSIDE` of them. A step of a batch is in it once it has
completed or failed for any entity.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Row, Select, and_, func, not_, select

from engine.lifecycle import TERMINAL, StepStatus
from engine.outcomes import Answer, Artifact, Skip
from engine.records import artifact_of
from store import batches
from store.batches import StepTally
from store.database import Tx
from store.runs import RunRow
from store.tables import runs, step_runs
from store.values import decode_object

#: Steps of loop bodies that are listed of one run.
MOST_INSIDE = 500


@dataclass(frozen=True)
class Executed:
    """A step that has begun, in one iteration. Times are microseconds UTC.

    Attributes:
        iteration: the index in each loop around it, as in `3.0`; empty at the top.
        error: `{"code", "message"}` of the last failure, or `{"reason"}` of a skip.
    """

    step_id: str
    iteration: str
    status: StepStatus
    error: dict[str, JsonValue] | None
    created_at: int
    updated_at: int
    artifacts: Sequence[Artifact] = ()


_UNMET = Answer(Skip(unmet=True)).model_dump_json()
_T = step_runs.c
_BEGUN = and_(
    _T.status != StepStatus.PENDING,
    not_(and_(_T.status == StepStatus.SKIPPED, func.coalesce(_T.answer, "") == _UNMET)),
)
_TOP = _T.iteration == ""
_CREATED = func.coalesce(_T.started_at, _T.completed_at, _T.updated_at)
_COLUMNS: list[ColumnElement[Any]] = [
    _T.step_id,
    _T.iteration,
    _T.status,
    _T.error,
    _CREATED.label("created_at"),
    _T.updated_at,
    _T.artifacts,
]


def steps_of(tx: Tx, run: RunRow) -> list[Executed]:
    """The run's executed steps, in the order in which they began."""
    mine = and_(_T.run_id == run.id, _BEGUN)
    order = (_CREATED, _T.step_id, _T.iteration)
    top = tx.execute(select(*_COLUMNS).where(mine, _TOP).order_by(*order)).all()
    inside = tx.execute(
        select(*_COLUMNS).where(mine, not_(_TOP)).order_by(*order).limit(MOST_INSIDE)
    ).all()
    rows = sorted([*top, *inside], key=lambda row: row.created_at)
    return [*_of_batch(tx, run), *(_executed(row, run) for row in rows)]


def _of_batch(tx: Tx, run: RunRow) -> list[Executed]:
    batch = batches.get(tx, run.id) if run.lanes is not None else None
    if batch is None:
        return []
    began = run.started_at or run.created_at
    return [
        Executed(
            step_id=step_id,
            iteration="",
            status=_status(run, tally),
            error={"message": f"{tally.failed} of {batch.total} entities have failed here."},
            # Each a microsecond later than the one before, so that they keep their order.
            created_at=began + place,
            updated_at=run.updated_at,
        )
        for place, (step_id, tally) in enumerate(batch.steps.items())
        if tally.begun
    ]


def _status(run: RunRow, tally: StepTally) -> StepStatus:
    if run.status not in TERMINAL:
        return StepStatus.RUNNING
    return StepStatus.COMPLETED if tally.completed else StepStatus.FAILED


def counts(tx: Tx, run_ids: Sequence[str]) -> dict[str, int]:
    """How many steps `steps_of` lists of each of the runs."""
    of_run = and_(_T.run_id == runs.c.id, _BEGUN)
    top = _count(select(1).where(of_run, _TOP))
    inside = _count(select(1).where(of_run, not_(_TOP)).limit(MOST_INSIDE))
    rows = tx.execute(
        select(runs.c.id, (top + inside).label("steps")).where(runs.c.id.in_(run_ids))
    )
    of_batch = {
        run_id: sum(tally.begun for tally in batch.steps.values())
        for run_id, batch in batches.some(tx, run_ids).items()
    }
    return {row.id: row.steps + of_batch.get(row.id, 0) for row in rows}


def _count(each: Select[Any]) -> ColumnElement[int]:
    rows = each.select_from(step_runs).correlate(runs).subquery()
    return select(func.count()).select_from(rows).scalar_subquery()


def artifacts_of(run: RunRow, text: str | None) -> list[Artifact]:
    """What a step of the run has used and made: first the record that has started the run.

    Args:
        run: The run.
        text: What the step's row says.
    """
    own = [Artifact.model_validate(one) for one in json.loads(text or "[]")]
    entity = run.input.get("entity") if run.event_id is not None else None
    if not isinstance(entity, dict):
        return own
    first = artifact_of(str(entity.get("type")), str(entity.get("id")), "trigger")
    return own if first in own else [first, *own]


def _executed(row: Row[Any], run: RunRow) -> Executed:
    return Executed(
        step_id=row.step_id,
        iteration=row.iteration,
        status=StepStatus(row.status),
        error=decode_object(row.error) if row.error else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        artifacts=artifacts_of(run, row.artifacts),
    )
