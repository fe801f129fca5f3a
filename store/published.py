"""Published events, for reading and for throwing away; they come about in `store.publishing`."""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, delete, exists, select

from engine.call import StepCall
from engine.errors import NotFound
from engine.lifecycle import TERMINAL
from engine.matching import unjudgeable
from store import waits
from store.database import Tx
from store.record_tables import event_waits, published_events
from store.runs import LIST_COLUMNS, RunHead, head_of
from store.tables import runs
from store.values import decode_object

_OVER = [str(status) for status in TERMINAL]


@dataclass(frozen=True)
class EventRow:
    """An event. The record is as it was then; `created_at` is microseconds UTC."""

    id: str
    org_id: str
    name: str
    data: dict[str, JsonValue]
    entity_id: str | None
    entity_type: str | None
    entity_fields: dict[str, JsonValue] | None
    depth: int
    created_at: int


def get(tx: Tx, org_id: str, event_id: str) -> EventRow:
    """The event.

    Raises:
        NotFound: There is none (any more), or it is another organisation's.
    """
    row = tx.execute(
        select(published_events).where(
            published_events.c.id == event_id, published_events.c.org_id == org_id
        )
    ).one_or_none()
    if row is None:
        raise NotFound("Event not found.", code="event_not_found")
    return event_of(row)


def runs_of(tx: Tx, event_id: str, limit: int) -> list[RunHead]:
    """The runs that the event has started, by id."""
    rows = tx.execute(
        select(*LIST_COLUMNS).where(runs.c.event_id == event_id).order_by(runs.c.id).limit(limit)
    )
    return [head_of(row) for row in rows]


def purge(tx: Tx, before: int, limit: int) -> int:
    """Let go of events of before this time, oldest first, at most so many; how many.

    One that has started a run which is not over, or is what such a run waited for, stays.
    """
    started = exists().where(runs.c.event_id == published_events.c.id, runs.c.status.not_in(_OVER))
    awaited = (
        exists()
        .where(event_waits.c.event_id == published_events.c.id)
        .where(runs.c.id == event_waits.c.run_id, runs.c.status.not_in(_OVER))
    )
    old = (
        select(published_events.c.id)
        .where(published_events.c.created_at < before, ~started, ~awaited)
        .order_by(published_events.c.created_at)
        .limit(limit)
    )
    return tx.execute(delete(published_events).where(published_events.c.id.in_(old))).rowcount


def event_of(row: Row[Any]) -> EventRow:
    """A row of the table, as this room passes it on."""
    values = row._asdict()
    fields = values["entity_fields"]
    return EventRow(
        **values
        | {
            "data": decode_object(values["data"]),
            "entity_fields": None if fields is None else decode_object(fields),
        }
    )


def unjudged(tx: Tx, call: StepCall) -> list[str]:
    """Why the `match` of a step's wait could not be evaluated, the latest event first.

    Of the last 100 events that it was compared with, those with which it could not.
    """
    wait = waits.find(tx, call)
    if wait is None or wait.match is None:
        return []
    happened = published_events.c
    rows = tx.execute(
        select(published_events)
        .where(
            happened.org_id == wait.org_id,
            happened.name == wait.event,
            happened.created_at >= wait.since,
            happened.id != (wait.begun_by or ""),
        )
        .order_by(happened.created_at.desc(), happened.id.desc())
        .limit(waits.PAGE)
    ).all()
    found = (unjudgeable(waits.happening(row), wait.match, wait.scope) for row in rows)
    return [error for error in found if error is not None]
