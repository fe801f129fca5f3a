"""Records: what workflows are about. Each change of one is published in the same transaction.

Deleted is only marked; a record can be restored for 30 days, and is gone after that. The type is
held first, then the record's row, then what `store.publishing` locks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, Select, bindparam, delete, exists, func, select, tuple_, update

from engine.diff import same
from engine.errors import Conflict, Invalid, NotFound
from engine.records import CREATED, DELETED, UPDATED, event_name, record_problems
from store import entity_types, publishing
from store.clock import DAY, now
from store.database import Tx, insert
from store.entity_types import TypeRow
from store.ids import new_id
from store.publishing import NewEvent, Subject, Verdicts
from store.record_tables import assessments, entities
from store.record_tables import entity_types as entity_types_table
from store.runs import RunRow
from store.values import decode_object, encode

#: How long a deleted record can be restored.
RESTORABLE = 30 * DAY
#: Bytes of the fields of one record, as JSON.
LARGEST = 256 * 1024

# Built once: making a statement costs more than carrying it out.
_GET = select(entities).where(
    entities.c.id == bindparam("entity"), entities.c.org_id == bindparam("org")
)
_LOCK = _GET.with_for_update(key_share=True)
_LIVE = _GET.where(
    entities.c.archived_at.is_(None),
    entities.c.type_id
    == select(entity_types_table.c.id)
    .where(
        entity_types_table.c.org_id == bindparam("org"),
        entity_types_table.c.name == bindparam("type"),
    )
    .scalar_subquery(),
)


@dataclass(frozen=True)
class EntityRow:
    """A record. Times are microseconds UTC.

    Attributes:
        archived_at: when it was deleted.
        published_at: when a `publish` step has last handed it to somebody.
    """

    id: str
    org_id: str
    type_id: str
    fields: dict[str, JsonValue]
    created_at: int
    updated_at: int
    archived_at: int | None
    published_at: int | None


@dataclass(frozen=True)
class NewEntity:
    """A record to make; `id` and `event_id` stay when it is made again after `Unjudged`."""

    fields: dict[str, JsonValue]
    id: str
    event_id: str


def new_entity(fields: dict[str, JsonValue], id: str | None = None) -> NewEntity:
    """A record to make, with an id of its own unless it is given. What is null is left out."""
    return NewEntity(without_nulls(fields), id or new_id(), new_id())


def without_nulls(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The fields that have a value."""
    return {key: value for key, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Written:
    """A record as it is now, and the runs that its change has started."""

    row: EntityRow
    runs: list[RunRow]


def create(
    tx: Tx, org_id: str, type_named: str, new: NewEntity, verdicts: Verdicts, depth: int = 0
) -> Written:
    """A new record of the type of this id or name.

    Raises:
        NotFound: There is no such type.
        Invalid: The fields are not as the type says.
        Unjudged: See `store.publishing`.
    """
    kind = entity_types.hold(tx, org_id, type_named)
    check(kind, new.fields)
    runs = add(tx, kind, [new], verdicts, depth)
    return Written(get(tx, org_id, new.id), runs)


def check(kind: TypeRow, fields: dict[str, JsonValue]) -> None:
    """See that the fields are as the type says.

    Raises:
        Invalid: They are not; or they are over 256 KiB, or hold what JSON has no word for.
    """
    if len(encode(fields)) > LARGEST:
        raise Invalid(f"The fields are over {LARGEST // 1024} KiB.")
    problems = record_problems(kind.definitions, fields)
    if problems:
        message = f"The fields are not those of type {kind.name}."
        raise Invalid(message, problems=problems)


def add(
    tx: Tx,
    kind: TypeRow,
    new: Sequence[NewEntity],
    verdicts: Verdicts,
    depth: int = 0,
    at: int | None = None,
) -> list[RunRow]:
    """Write records that were checked against their type, which is held; the runs that they start.

    A record whose id is there already stays as it is and is not told of again.

    Args:
        tx: the transaction.
        kind: their type.
        new: the records.
        verdicts: see `store.publishing`.
        depth: of the events.
        at: when the first is made, in microseconds; each that follows is one later, so that they
            keep their order. Now if it is not given.

    Raises:
        Unjudged: See `store.publishing`.
    """
    at = now() if at is None else at
    rows = [
        {
            "id": one.id,
            "org_id": kind.org_id,
            "type_id": kind.id,
            "fields": encode(one.fields),
            "created_at": at + place,
            "updated_at": at + place,
        }
        for place, one in enumerate(new)
    ]
    if not rows:
        return []
    written = insert(tx, entities).on_conflict_do_nothing().returning(entities.c.id)
    fresh = set(tx.execute(written, rows).scalars())
    events = [
        NewEvent(
            name=event_name(kind.name, CREATED),
            data={},
            subject=Subject(one.id, kind.name, one.fields),
            depth=depth,
            id=one.event_id,
        )
        for one in new
        if one.id in fresh
    ]
    return publishing.publish(tx, kind.org_id, events, verdicts) if events else []


def get(tx: Tx, org_id: str, entity_id: str) -> EntityRow:
    """The record, also one that was deleted and can be restored.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    return _found(tx, _GET, org_id, entity_id)


def _locked(tx: Tx, org_id: str, entity_id: str) -> tuple[TypeRow, EntityRow]:
    """The record as it stays until the transaction ends, and its type."""
    kind = entity_types.hold(tx, org_id, get(tx, org_id, entity_id).type_id)
    return kind, _found(tx, _LOCK, org_id, entity_id)


def _found(tx: Tx, query: Select[Any], org_id: str, entity_id: str) -> EntityRow:
    row = tx.execute(query, {"entity": entity_id, "org": org_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such entity.", code="entity_not_found")
    return _row(row)


def page(
    tx: Tx,
    org_id: str,
    type_id: str,
    *,
    archived: bool = False,
    oldest_first: bool = False,
    behind: EntityRow | None = None,
    limit: int,
    offset: int = 0,
) -> tuple[list[EntityRow], bool, int]:
    """A page of the records of a type, whether more follow, and how many there are in all.

    Args:
        tx: The transaction.
        org_id: Whose records.
        type_id: Of which type.
        archived: The deleted ones instead.
        oldest_first: In the order in which they were made; else the newest comes first.
        behind: Only those that follow this record, whatever was made or deleted since.
        limit: How many at most.
        offset: How many of them are left out first.
    """
    wanted = (
        entities.c.org_id == org_id,
        entities.c.type_id == type_id,
        entities.c.archived_at.is_not(None) if archived else entities.c.archived_at.is_(None),
    )
    key = (entities.c.created_at, entities.c.id)
    query = select(entities).where(*wanted)
    if behind is not None:
        mark = tuple_(behind.created_at, behind.id)
        query = query.where(tuple_(*key) > mark if oldest_first else tuple_(*key) < mark)
    query = query.order_by(*(column if oldest_first else column.desc() for column in key))
    rows = tx.execute(query.limit(limit + 1).offset(offset)).all()
    total = tx.execute(select(func.count()).select_from(entities).where(*wanted)).scalar_one()
    return [_row(row) for row in rows[:limit]], len(rows) > limit, total


def after(tx: Tx, org_id: str, type_id: str, last: EntityRow | None, limit: int) -> list[EntityRow]:
    """Records of a type that were not deleted, oldest first, from behind one; None for the first.

    Of those that are of one time the one with the lower id comes first, as `page` has the higher.
    """
    key = tuple_(entities.c.created_at, entities.c.id)
    behind = [key > tuple_(last.created_at, last.id)] if last is not None else []
    rows = tx.execute(
        select(entities)
        .where(
            entities.c.org_id == org_id,
            entities.c.type_id == type_id,
            entities.c.archived_at.is_(None),
            *behind,
        )
        .order_by(entities.c.created_at, entities.c.id)
        .limit(limit)
    )
    return [_row(row) for row in rows]


def ids(tx: Tx, org_id: str, type_id: str, limit: int) -> list[str]:
    """The ids of the records of a type that were not deleted, oldest first, at most so many."""
    rows = tx.execute(
        select(entities.c.id)
        .where(
            entities.c.org_id == org_id,
            entities.c.type_id == type_id,
            entities.c.archived_at.is_(None),
        )
        .order_by(entities.c.created_at, entities.c.id)
        .limit(limit)
    )
    return [*rows.scalars()]


def change(
    tx: Tx,
    org_id: str,
    entity_id: str,
    fields: dict[str, JsonValue],
    verdicts: Verdicts,
    event_id: str,
    depth: int = 0,
) -> Written:
    """The record with these fields changed; null takes a field away.

    What changes nothing is not published.

    Raises:
        NotFound: There is no such record.
        Conflict: It was deleted.
        Invalid: The fields are not as the type says.
        Unjudged: See `store.publishing`.
    """
    kind, row = _locked(tx, org_id, entity_id)
    if row.archived_at is not None:
        raise Conflict("The entity was deleted. Restore it first.")
    merged = without_nulls(row.fields | fields)
    changed = sorted(
        key
        for key in merged.keys() | row.fields.keys()
        if not same(merged.get(key), row.fields.get(key))
    )
    if not changed:
        return Written(row, [])
    check(kind, merged)
    data: dict[str, JsonValue] = {"changed": [*changed]}
    event = _event(kind, row, merged, UPDATED, data, event_id, depth)
    return _write(tx, row, event, verdicts, {"fields": encode(merged)})


def archive(
    tx: Tx, org_id: str, entity_id: str, verdicts: Verdicts, event_id: str, depth: int = 0
) -> Written:
    """Delete the record for as long as nobody restores it; twice is as good as once.

    Raises:
        NotFound: There is no such record.
        Unjudged: See `store.publishing`.
    """
    kind, row = _locked(tx, org_id, entity_id)
    if row.archived_at is not None:
        return Written(row, [])
    event = _event(kind, row, row.fields, DELETED, {}, event_id, depth)
    return _write(tx, row, event, verdicts, {"archived_at": now()})


def restore(
    tx: Tx, org_id: str, entity_id: str, verdicts: Verdicts, event_id: str, depth: int = 0
) -> Written:
    """Take a deletion back; published as an update. Twice is as good as once.

    Raises:
        NotFound: There is no such record (any more).
        Unjudged: See `store.publishing`.
    """
    kind, row = _locked(tx, org_id, entity_id)
    if row.archived_at is None:
        return Written(row, [])
    data: dict[str, JsonValue] = {"changed": [], "restored": True}
    event = _event(kind, row, row.fields, UPDATED, data, event_id, depth)
    return _write(tx, row, event, verdicts, {"archived_at": None})


def _event(
    kind: TypeRow,
    row: EntityRow,
    fields: dict[str, JsonValue],
    life: str,
    data: dict[str, JsonValue],
    event_id: str,
    depth: int,
) -> NewEvent:
    subject = Subject(row.id, kind.name, fields)
    return NewEvent(event_name(kind.name, life), data, subject, depth, event_id)


def _write(
    tx: Tx, row: EntityRow, event: NewEvent, verdicts: Verdicts, columns: dict[str, Any]
) -> Written:
    runs = publishing.publish(tx, row.org_id, [event], verdicts)
    written = tx.execute(
        update(entities)
        .where(entities.c.id == row.id)
        .values(**columns, updated_at=max(now(), row.updated_at + 1))
        .returning(entities)
    ).one()
    return Written(_row(written), runs)


def purge(tx: Tx, before: int, limit: int) -> int:
    """Let go of records that were deleted before this time, at most so many; how many.

    One that an assessment names stays.
    """
    old = (
        select(entities.c.id)
        .where(
            entities.c.archived_at < before,
            ~exists().where(assessments.c.vendor_id == entities.c.id),
        )
        .order_by(entities.c.archived_at)
        .limit(limit)
    )
    return tx.execute(delete(entities).where(entities.c.id.in_(old))).rowcount


def _row(row: Row[Any]) -> EntityRow:
    values = row._asdict()
    return EntityRow(**values | {"fields": decode_object(values["fields"])})


def live(tx: Tx, org_id: str, type_name: str, entity_id: str) -> EntityRow | None:
    """The record of this type; None when there is none, or it was deleted."""
    row = tx.execute(_LIVE, {"entity": entity_id, "org": org_id, "type": type_name}).one_or_none()
    return None if row is None else _row(row)
