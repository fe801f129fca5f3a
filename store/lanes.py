"""The lanes of batches: what is open of a window, what lanes have done, and the table of results.

A lane's row is its journal: what a step outside of the process has answered is there before the
next step begins, and whoever goes on with the lane begins there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, null, select, update

from engine.batch import LANE_OPEN, LaneStatus, Note
from engine.errors import Conflict
from engine.facts import Facts
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import EntityChange
from engine.usage import Usage
from store import batches, entity_updates
from store.batch_tables import lanes
from store.batches import BatchRow
from store.database import Tx
from store.entity_updates import Changes
from store.ids import new_id
from store.publishing import Verdicts
from store.runs import RunRow
from store.tables import runs
from store.values import decode, decode_object, encode

#: Entities that the event of a window names.
_TOLD = 20
_NOTES = TypeAdapter(list[Note])
#: What the text of notes holds when a step has failed: quotes inside of a message are escaped.
_FAILED_NOTE = '"code":"'

_WRITE = (
    update(lanes)
    .where(lanes.c.run_id == bindparam("run"), lanes.c.lane == bindparam("index"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "status",
                "facts",
                "outputs",
                "step_id",
                "attempts",
                "error",
                "notes",
                "output",
                "started_at",
                "completed_at",
            )
        }
    )
)
#: What the table of results shows. What a lane takes along from step to step may be much, and is
#: for whoever goes on with it.
_SHOWN: Select[Any] = select(
    *(column for column in lanes.c if column.name not in ("facts", "outputs")),
    null().label("facts"),
    null().label("outputs"),
)
#: While the row is held like this, nobody ends the run.
_STILL = (
    select(runs.c.id)
    .where(
        runs.c.id == bindparam("run"),
        runs.c.n == bindparam("execution"),
        runs.c.status == RunStatus.RUNNING,
    )
    .with_for_update(key_share=True)
)


@dataclass(frozen=True)
class LaneRow:
    """A lane, as `store.batch_tables.lanes` describes it. Times are microseconds UTC.

    Attributes:
        facts: None before its first step outside of the process has answered, and once it is over.
        outputs: the outputs of its steps so far, by step.
        notes: what happened on the way.
    """

    lane: int
    entity_id: str
    status: LaneStatus
    facts: Facts | None
    outputs: dict[str, JsonValue]
    step_id: str | None
    attempts: int
    error: dict[str, JsonValue] | None
    notes: list[Note]
    output: JsonValue
    started_at: int | None
    completed_at: int | None


@dataclass(frozen=True)
class Move:
    """A lane that has moved on.

    Attributes:
        row: as it is by now.
        change: what becomes of its entity.
        ended: how its steps have ended, once it is over.
        usage: what it has asked of models since its last move.
        event_id: of the event that tells of the change. It stays when the move is written again,
            and another attempt at the window, which may change the entity as well, has its own.
    """

    row: LaneRow
    change: EntityChange | None = None
    ended: dict[str, StepStatus] | None = None
    usage: Usage = field(default_factory=Usage)
    event_id: str = field(default_factory=new_id)


def window(tx: Tx, run_id: str, first: int, size: int) -> list[LaneRow]:
    """The lanes of a window that are not over, in their order."""
    rows = tx.execute(
        select(lanes)
        .where(
            lanes.c.run_id == run_id,
            lanes.c.lane >= first,
            lanes.c.lane < first + size,
            lanes.c.status.in_(LANE_OPEN),
        )
        .order_by(lanes.c.lane)
    )
    return [_row(row) for row in rows]


def commit(
    tx: Tx,
    org_id: str,
    run_id: str,
    n: int,
    moves: Sequence[Move],
    verdicts: Verdicts,
    depth: int,
) -> tuple[BatchRow, list[RunRow]]:
    """Write what lanes have done, with what becomes of their entities; each is over once.

    Answers the batch as it is then, and the runs that changes of entities have started.

    Raises:
        Conflict: The run is over, or another execution carries it out. Nothing was written.
        Unjudged: See `store.publishing`.
    """
    batch = batches.lock(tx, run_id)
    if batch is None:
        raise Conflict("The run was deleted.", code="superseded")
    latest = {move.row.lane: move for move in moves}
    still = set(
        tx.execute(
            select(lanes.c.lane).where(
                lanes.c.run_id == run_id,
                lanes.c.lane.in_(list(latest)),
                lanes.c.status.in_(LANE_OPEN),
            )
        ).scalars()
    )
    changes = _changes([move for move in moves if move.row.lane in still])
    started = (
        entity_updates.change_all(tx, org_id, batch.type_id, changes, verdicts, depth)
        if changes
        else []
    )
    if tx.execute(_STILL, {"run": run_id, "execution": n}).first() is None:
        raise Conflict("The run is not carried out by this execution.", code="superseded")
    fresh = [move for lane, move in latest.items() if lane in still]
    if fresh:
        tx.execute(_WRITE, [_columns(run_id, move.row) for move in fresh])
    ended = [move.ended for move in fresh if move.ended is not None]
    spent = Usage()
    for move in moves:
        if move.row.lane in still:
            spent.add(move.usage)
    if ended or spent:
        failed = sum(move.row.status is LaneStatus.FAILED for move in fresh)
        batch = batches.count(tx, batch, ended, failed, spent)
    if batches.is_untold(batch):
        batches.tell_of(tx, batch, n)
    return batch, started


def _changes(moves: Sequence[Move]) -> dict[str, Changes]:
    """What becomes of each entity, whatever of one lane comes together."""
    found: dict[str, Changes] = {}
    for move in moves:
        if move.change is None:
            continue
        before = found.get(move.row.entity_id)
        change = move.change
        if before is not None:
            change = EntityChange(
                fields=before.change.fields | change.fields,
                published=before.change.published or change.published,
            )
        found[move.row.entity_id] = Changes(change, move.event_id)
    return found


def _columns(run_id: str, row: LaneRow) -> dict[str, Any]:
    return {
        "run": run_id,
        "index": row.lane,
        "new_status": row.status,
        "new_facts": None
        if row.facts is None
        else row.facts.model_dump_json(exclude_defaults=True),
        "new_outputs": encode(row.outputs) if row.outputs else None,
        "new_step_id": row.step_id,
        "new_attempts": row.attempts,
        "new_error": None if row.error is None else encode(row.error),
        "new_notes": encode([note.model_dump() for note in row.notes]) if row.notes else None,
        "new_output": None if row.output is None else encode(row.output),
        "new_started_at": row.started_at,
        "new_completed_at": row.completed_at,
    }


def tell(tx: Tx, run_id: str, n: int, first: int, size: int, since: int) -> None:
    """Write the event that tells of a window: the counters, and the first of what went wrong.

    Args:
        tx: The transaction.
        run_id: The batch.
        n: The execution that carries it out.
        first: The first lane of the window.
        size: How many lanes it has at most.
        since: Only lanes that were over no earlier than that (microseconds UTC).

    Raises:
        Conflict: The run is over, or another execution carries it out.
    """
    batch = batches.lock(tx, run_id)
    if batch is None:
        raise Conflict("The run was deleted.", code="superseded")
    in_it = (
        lanes.c.run_id == run_id,
        lanes.c.lane >= first,
        lanes.c.lane < first + size,
        lanes.c.completed_at >= since,
    )
    rows, failed_here = _first(tx, *in_it, lanes.c.status == LaneStatus.FAILED)
    noted, noted_here = _first(tx, *in_it, lanes.c.notes.contains(_FAILED_NOTE, autoescape=True))
    if not failed_here and not noted_here and batch.done == batch.told_done:
        return
    failures: list[JsonValue] = [
        {"entity_id": row.entity_id, "step_id": row.step_id, **(row.error or {})} for row in rows
    ]
    notes: list[JsonValue] = [
        {"entity_id": row.entity_id, **note.model_dump()}
        for row in noted
        for note in row.notes
        if note.code is not None
    ]
    more: dict[str, JsonValue] = {
        "failed_here": failed_here,
        "failures": failures,
        "noted_here": noted_here,
        "notes": notes,
    }
    batches.tell_of(tx, batch, n, more)


def _first(tx: Tx, *wanted: ColumnElement[bool]) -> tuple[list[LaneRow], int]:
    """The first of these lanes, and how many there are."""
    rows = tx.execute(_SHOWN.where(*wanted).order_by(lanes.c.lane).limit(_TOLD))
    found = [_row(row) for row in rows]
    if len(found) < _TOLD:
        return found, len(found)
    count = tx.execute(select(func.count()).select_from(lanes).where(*wanted)).scalar_one()
    return found, count


def failed(tx: Tx, run_id: str) -> list[str]:
    """The entities that have failed, in the order of their lanes."""
    rows = tx.execute(
        select(lanes.c.entity_id)
        .where(lanes.c.run_id == run_id, lanes.c.status == LaneStatus.FAILED)
        .order_by(lanes.c.lane)
    )
    return list(rows.scalars())


def page(
    tx: Tx, run_id: str, statuses: Sequence[LaneStatus] = (), *, limit: int, offset: int
) -> tuple[list[LaneRow], int]:
    """A page of the lanes in their order, without `facts` and `outputs`, and how many there are."""
    wanted = [*_wanted(run_id, statuses)]
    rows = tx.execute(_SHOWN.where(*wanted).order_by(lanes.c.lane).limit(limit).offset(offset))
    total = tx.execute(select(func.count()).select_from(lanes).where(*wanted)).scalar_one()
    return [_row(row) for row in rows], total


def after(
    tx: Tx, run_id: str, statuses: Sequence[LaneStatus], last: int, limit: int
) -> list[LaneRow]:
    """Lanes as in `page` from behind one, -1 for the first: for who reads them all."""
    wanted = (*_wanted(run_id, statuses), lanes.c.lane > last)
    rows = tx.execute(_SHOWN.where(*wanted).order_by(lanes.c.lane).limit(limit))
    return [_row(row) for row in rows]


def _wanted(run_id: str, statuses: Sequence[LaneStatus]) -> Iterator[ColumnElement[bool]]:
    yield lanes.c.run_id == run_id
    if statuses:
        yield lanes.c.status.in_(statuses)


def _row(row: Row[Any]) -> LaneRow:
    return LaneRow(
        lane=row.lane,
        entity_id=row.entity_id,
        status=LaneStatus(row.status),
        facts=Facts.model_validate_json(row.facts) if row.facts else None,
        outputs=decode_object(row.outputs) if row.outputs else {},
        step_id=row.step_id,
        attempts=row.attempts,
        error=decode_object(row.error) if row.error else None,
        notes=_NOTES.validate_json(row.notes) if row.notes else [],
        output=decode(row.output) if row.output else None,
        started_at=row.started_at,
        completed_at=row.completed_at,
    )


def of_entity(tx: Tx, run_id: str, entity_id: str) -> LaneRow | None:
    """The lane of an entity, as in `page`; None when the batch has none."""
    found = _SHOWN.where(lanes.c.run_id == run_id, lanes.c.entity_id == entity_id)
    row = tx.execute(found.order_by(lanes.c.lane).limit(1)).first()
    return None if row is None else _row(row)
