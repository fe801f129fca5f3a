"""The event log of each run: numbered from 1 without gaps, in the order of commitment.

The numbers come from a counter in the run's row, taken in the transaction that writes the events.
So writers of one run wait for each other, and nobody can see event 7 before event 6 exists. An
order over all runs would not have that: rows of different transactions commit out of order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from sqlalchemy import (
    JSON,
    BindParameter,
    Insert,
    Integer,
    Row,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)

from engine.errors import Conflict, NotFound
from engine.lifecycle import EventType, RunStatus
from store.clock import now
from store.database import Tx
from store.tables import run_events, runs
from store.values import decode_object, encode
from store.watch import CHANNEL

_TAKE = update(runs).where(runs.c.id == bindparam("run")).values(seq=runs.c.seq + bindparam("k"))
#: Only while the run is carried out by this execution.
_TAKE_AS = _TAKE.where(runs.c.n == bindparam("execution"), runs.c.status == RunStatus.RUNNING)
# Built once: making a statement costs more than carrying it out. A notification is delivered by
# the commit; in the same statement it costs no round trip.
_ALOUD = (runs.c.seq, func.pg_notify(CHANNEL, ""))
_TAKES = {
    ("sqlite", False): _TAKE.returning(runs.c.seq),
    ("sqlite", True): _TAKE_AS.returning(runs.c.seq),
    ("postgresql", False): _TAKE.returning(*_ALOUD),
    ("postgresql", True): _TAKE_AS.returning(*_ALOUD),
}
_BEFORE = (
    select(run_events.c.at)
    .where(run_events.c.run_id == bindparam("run"), run_events.c.seq == bindparam("before"))
    .scalar_subquery()
)


def _insert(later: str) -> Insert:
    """Writes an event that is not earlier than the one before it; `later` says which is."""
    at: BindParameter[int] = bindparam("happened")
    never_back = getattr(func, later)(at, func.coalesce(_BEFORE, at))
    named = ("seq", "type", "step_id", "iteration", "data")
    told: dict[str, Any] = {name: bindparam(f"new_{name}") for name in named}
    return insert(run_events).values(run_id=bindparam("run"), at=never_back, **told)


_INSERTS = {"sqlite": _insert("max"), "postgresql": _insert("greatest")}


@dataclass(frozen=True)
class NewEvent:
    """Something to tell about a run.

    Attributes:
        iteration: the index in each loop around the step, as in `3.0`; empty at the top.
        at: when it happened (microseconds UTC), where that is earlier than when it is written. Kept
            is no earlier time than that of the event before it.
    """

    type: EventType
    step_id: str | None = None
    iteration: str = ""
    data: dict[str, JsonValue] = field(default_factory=dict)
    at: int | None = None


@dataclass(frozen=True)
class EventRow:
    """An event as it was written; `at` is in microseconds UTC."""

    run_id: str
    seq: int
    type: EventType
    step_id: str | None
    iteration: str
    data: dict[str, JsonValue]
    at: int


def append(tx: Tx, run_id: str, events: Sequence[NewEvent], *, execution: int | None = None) -> int:
    """Write the events behind the run's last one; answers the last number in use.

    It locks the run's row, so whoever also writes rows of its steps calls this first.

    Args:
        tx: The transaction.
        run_id: The run.
        events: What to tell; may be nothing, for the lock alone.
        execution: Whoever writes; only while the run is carried out by this execution.

    Raises:
        NotFound: There is no such run.
        Conflict: The run is over, or another execution carries it out.
    """
    take = _TAKES[tx.dialect.name, execution is not None]
    taken = tx.execute(
        take, {"run": run_id, "k": len(events), "execution": execution}
    ).one_or_none()
    if taken is None and execution is not None:
        raise Conflict("The run is not carried out by this execution.", code="superseded")
    if taken is None:
        raise NotFound("There is no such run.", code="run_not_found")
    last: int = taken.seq
    at = now()
    if events:
        tx.execute(
            _INSERTS[tx.dialect.name],
            [
                {
                    "run": run_id,
                    "before": seq - 1,
                    "new_seq": seq,
                    "new_type": event.type,
                    "new_step_id": event.step_id,
                    "new_iteration": event.iteration,
                    "new_data": encode(event.data),
                    "happened": event.at or at,
                }
                for seq, event in enumerate(events, start=last - len(events) + 1)
            ],
        )
    return last


def after(tx: Tx, marks: Mapping[str, int], limit: int = 500) -> list[EventRow]:
    """Events of several runs beyond what is known of each, by run, then by number.

    Args:
        tx: The transaction.
        marks: For each watched run the last number that is known; 0 for none.
        limit: How many to answer at most. A full answer means that there may be more: ask again
            with the marks moved on.
    """
    text = literal(encode(dict(marks)))
    if tx.dialect.name == "postgresql":
        each = func.json_each_text(cast(text, JSON)).table_valued("key", "value").render_derived()
    else:
        each = func.json_each(text).table_valued("key", "value")
    rows = tx.execute(
        select(run_events)
        .join(
            each,
            (run_events.c.run_id == each.c.key) & (run_events.c.seq > cast(each.c.value, Integer)),
        )
        .order_by(run_events.c.run_id, run_events.c.seq)
        .limit(limit)
    )
    return [event_of(row) for row in rows]


def last(tx: Tx, run_id: str) -> int:
    """The number of the run's last event; 0 when it has none or is not there."""
    return tx.scalar(select(runs.c.seq).where(runs.c.id == run_id)) or 0


def event_of(row: Row[Any]) -> EventRow:
    """A row of the log, decoded."""
    return EventRow(
        run_id=row.run_id,
        seq=row.seq,
        type=EventType(row.type),
        step_id=row.step_id,
        iteration=row.iteration or "",
        data=decode_object(row.data),
        at=row.at,
    )
