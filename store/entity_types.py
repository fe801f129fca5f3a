"""Types of records. Every organisation has `Vendor` and `Service`, which take any fields."""

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, bindparam, exists, func, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError

from engine.errors import Conflict, NotFound
from engine.records import BUILTIN
from store.clock import now
from store.database import Tx, insert
from store.ids import derived_id, new_id
from store.record_tables import entities, entity_types
from store.values import decode, encode

# Built once: making a statement costs more than carrying it out.
_GET = select(entity_types).where(
    entity_types.c.org_id == bindparam("org"),
    or_(entity_types.c.id == bindparam("named"), entity_types.c.name == bindparam("named")),
)
#: `FOR SHARE`: it is neither changed nor deleted until the transaction ends.
_HOLD = _GET.with_for_update(read=True)
_LOCK = _GET.with_for_update()
_TAKEN = "There is an entity type of this name or slug."


@dataclass(frozen=True)
class TypeRow:
    """A type of records. Times are microseconds UTC.

    Attributes:
        fields: what `engine.records` knows as the fields of a type.
        builtin: it takes any fields, and nobody changes it.
    """

    id: str
    org_id: str
    name: str
    plural_name: str
    slug: str
    description: str | None
    icon: str | None
    fields: list[dict[str, JsonValue]]
    builtin: bool
    created_at: int
    updated_at: int

    @property
    def definitions(self) -> list[dict[str, JsonValue]] | None:
        """The fields that its records may have; None for any."""
        return None if self.builtin else self.fields


@dataclass(frozen=True)
class NewType:
    """A type to make."""

    name: str
    plural_name: str
    slug: str
    description: str | None
    icon: str | None
    fields: list[dict[str, JsonValue]]


def add_builtin(tx: Tx, org_id: str) -> None:
    """Give an organisation the types that every one has; repeating it changes nothing."""
    at = now()
    for name, plural in BUILTIN.items():
        tx.execute(
            insert(tx, entity_types)
            .values(
                id=derived_id(org_id, f"{org_id}/{name}"),
                org_id=org_id,
                name=name,
                plural_name=plural,
                slug=plural.lower(),
                fields="[]",
                builtin=True,
                created_at=at,
                updated_at=at,
            )
            .on_conflict_do_nothing()
        )


def create(tx: Tx, org_id: str, new: NewType) -> TypeRow:
    """A new type.

    Raises:
        Conflict: There is one of this name or this slug.
    """
    at = now()
    row = tx.execute(
        insert(tx, entity_types)
        .values(
            id=new_id(),
            org_id=org_id,
            name=new.name,
            plural_name=new.plural_name,
            slug=new.slug,
            description=new.description,
            icon=new.icon,
            fields=encode([*new.fields]),
            builtin=False,
            created_at=at,
            updated_at=at,
        )
        .on_conflict_do_nothing()
        .returning(entity_types)
    ).one_or_none()
    if row is None:
        raise Conflict(_TAKEN)
    return _row(row)


def get(tx: Tx, org_id: str, named: str) -> TypeRow:
    """The type of this id or exact name.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    return _found(tx, _GET, org_id, named)


def hold(tx: Tx, org_id: str, named: str) -> TypeRow:
    """The type, which stays as it is until the transaction ends.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    return _found(tx, _HOLD, org_id, named)


def named_so(tx: Tx, org_id: str, name: str) -> bool:
    """Whether the organisation has a type of this name."""
    mine = (entity_types.c.org_id == org_id, entity_types.c.name == name)
    return tx.execute(select(entity_types.c.id).where(*mine)).first() is not None


def page(tx: Tx, org_id: str, *, limit: int, offset: int) -> tuple[list[TypeRow], int]:
    """A page of the types, oldest first, and how many there are in all."""
    mine = entity_types.c.org_id == org_id
    rows = tx.execute(
        select(entity_types)
        .where(mine)
        .order_by(entity_types.c.created_at, entity_types.c.name)
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(entity_types).where(mine)).scalar_one()
    return [_row(row) for row in rows], total


def change(tx: Tx, org_id: str, named: str, changes: dict[str, Any]) -> TypeRow:
    """The type with these columns changed; `fields` replaces the whole list.

    Raises:
        NotFound: There is no such type.
        Conflict: It is a builtin one, or another one has the name or the slug.
    """
    row = _locked(tx, org_id, named)
    if "fields" in changes:
        changes = changes | {"fields": encode(changes["fields"])}
    changed = (
        update(entity_types)
        .where(entity_types.c.id == row.id)
        .values(**changes, updated_at=now())
        .returning(entity_types)
    )
    try:
        return _row(tx.execute(changed).one())
    except IntegrityError as error:
        raise Conflict(_TAKEN) from error


def delete(tx: Tx, org_id: str, named: str) -> TypeRow:
    """Delete a type of which there are no records; what it was.

    Raises:
        NotFound: There is no such type.
        Conflict: It is a builtin one, or has records, deleted ones that can be restored included.
    """
    row = _locked(tx, org_id, named)
    used = select(exists().where(entities.c.org_id == org_id, entities.c.type_id == row.id))
    if tx.execute(used).scalar_one():
        raise Conflict(
            "The entity type has entities. One that was deleted counts for 30 days, as it can be "
            "restored."
        )
    tx.execute(delete_from(entity_types).where(entity_types.c.id == row.id))
    return row


def _locked(tx: Tx, org_id: str, named: str) -> TypeRow:
    row = _found(tx, _LOCK, org_id, named)
    if row.builtin:
        raise Conflict(f"{row.name} is built in and stays as it is.")
    return row


def _found(tx: Tx, query: Any, org_id: str, named: str) -> TypeRow:
    row = tx.execute(query, {"org": org_id, "named": named}).one_or_none()
    if row is None:
        raise NotFound("There is no such entity type.", code="entity_type_not_found")
    return _row(row)


def _row(row: Row[Any]) -> TypeRow:
    values = row._asdict()
    return TypeRow(**values | {"fields": decode(values["fields"])})
