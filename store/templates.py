"""An organisation's own templates: definitions to make workflows of. The builtin ones are files."""

from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import delete, func, select

from engine.errors import NotFound
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.tables import templates
from store.values import decode_object, encode

_HEAD = (
    templates.c.id,
    templates.c.name,
    templates.c.description,
    templates.c.category,
    templates.c.created_at,
)


@dataclass(frozen=True)
class TemplateRow:
    """A template without its definition; the time is in microseconds UTC."""

    id: str
    name: str
    description: str | None
    category: str
    created_at: int


def create(
    tx: Tx,
    org_id: str,
    *,
    name: str,
    description: str | None,
    category: str,
    definition: dict[str, JsonValue],
) -> TemplateRow:
    """A new template of the organisation."""
    row = tx.execute(
        templates.insert()
        .values(
            id=new_id(),
            org_id=org_id,
            name=name,
            description=description,
            category=category,
            definition=encode(definition),
            created_at=now(),
        )
        .returning(*_HEAD)
    ).one()
    return TemplateRow(*row)


def get(tx: Tx, org_id: str, template_id: str) -> tuple[TemplateRow, dict[str, JsonValue]]:
    """The template and its definition.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    mine = select(*_HEAD, templates.c.definition).where(
        templates.c.id == template_id, templates.c.org_id == org_id
    )
    row = tx.execute(mine).one_or_none()
    if row is None:
        raise _unknown()
    return TemplateRow(*row[:-1]), decode_object(row.definition)


def page(
    tx: Tx, org_id: str, *, category: str | None = None, limit: int, offset: int
) -> tuple[list[TemplateRow], int]:
    """A page of the organisation's templates, newest first, and how many there are in all."""
    wanted = [templates.c.org_id == org_id]
    if category is not None:
        wanted.append(templates.c.category == category)
    rows = tx.execute(
        select(*_HEAD)
        .where(*wanted)
        .order_by(templates.c.created_at.desc(), templates.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    total = tx.execute(select(func.count()).select_from(templates).where(*wanted)).scalar_one()
    return [TemplateRow(*row) for row in rows], total


def remove(tx: Tx, org_id: str, template_id: str) -> None:
    """Delete the template; workflows that were made of it stay.

    Raises:
        NotFound: There is none, or it is another organisation's.
    """
    mine = delete(templates).where(templates.c.id == template_id, templates.c.org_id == org_id)
    if tx.execute(mine).rowcount == 0:
        raise _unknown()


def _unknown() -> NotFound:
    return NotFound("There is no such template.", code="template_not_found")
