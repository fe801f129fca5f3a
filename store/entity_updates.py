"""Many records changed in one transaction, as the lanes of a batch change them.

The same as `store.entities.change` for each, in a few statements for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import bindparam, select, update

from engine.diff import same
from engine.errors import NotFound
from engine.outcomes import EntityChange
from engine.records import UPDATED, event_name
from store import entity_types, publishing
from store.clock import now
from store.database import Tx
from store.entities import EntityRow, without_nulls
from store.publishing import NewEvent, Subject, Verdicts
from store.record_tables import entities
from store.runs import RunRow
from store.values import decode_object, encode

_WRITE = (
    update(entities)
    .where(entities.c.id == bindparam("entity"))
    .values(
        fields=bindparam("new_fields"),
        updated_at=bindparam("at"),
        published_at=bindparam("shown"),
    )
)


@dataclass(frozen=True)
class Changes:
    """What becomes of one record; `event_id` stays when it is done again after `Unjudged`."""

    change: EntityChange
    event_id: str


def present(tx: Tx, org_id: str, entity_ids: Sequence[str]) -> dict[str, EntityRow]:
    """Those of these records that were not deleted, by id."""
    rows = tx.execute(
        select(entities).where(
            entities.c.id.in_(entity_ids),
            entities.c.org_id == org_id,
            entities.c.archived_at.is_(None),
        )
    )
    return {row.id: _row(row) for row in rows}


def change_all(
    tx: Tx,
    org_id: str,
    type_id: str,
    changes: Mapping[str, Changes],
    verdicts: Verdicts,
    depth: int,
) -> list[RunRow]:
    """Change the records that are still there; the runs that this has started.

    What changes no field is not published, but it is noted when it was shown. Whoever asks has made
    sure that the fields are as the type says.

    Raises:
        Unjudged: See `store.publishing`.
    """
    try:
        kind = entity_types.hold(tx, org_id, type_id)
    except NotFound:
        # A type that has records is not deleted: they are gone.
        return []
    rows = tx.execute(
        select(entities)
        .where(
            entities.c.id.in_(list(changes)),
            entities.c.org_id == org_id,
            entities.c.archived_at.is_(None),
        )
        # In one order everywhere, or two transactions could wait for each other's rows.
        .order_by(entities.c.id)
        .with_for_update(key_share=True)
    ).all()
    written: list[dict[str, Any]] = []
    events: list[NewEvent] = []
    for row in map(_row, rows):
        wanted = changes[row.id]
        merged = without_nulls(row.fields | wanted.change.fields)
        changed = sorted(
            key for key in wanted.change.fields if not same(merged.get(key), row.fields.get(key))
        )
        at = max(now(), row.updated_at + 1)
        if changed:
            data: dict[str, JsonValue] = {"changed": [*changed]}
            subject = Subject(row.id, kind.name, merged)
            name = event_name(kind.name, UPDATED)
            events.append(NewEvent(name, data, subject, depth, wanted.event_id))
        if changed or wanted.change.published:
            written.append(
                {
                    "entity": row.id,
                    "new_fields": encode(merged),
                    "at": at if changed else row.updated_at,
                    "shown": now() if wanted.change.published else row.published_at,
                }
            )
    started = publishing.publish(tx, org_id, events, verdicts) if events else []
    if written:
        tx.execute(_WRITE, written)
    return started


def _row(row: Any) -> EntityRow:
    values = row._asdict()
    return EntityRow(**values | {"fields": decode_object(values["fields"])})
