"""Types of records: made, changed and read. `Vendor` and `Service` are there already."""

from dataclasses import dataclass
from typing import Any

from app.services.auth import Caller
from engine.errors import Conflict, Invalid, Problem
from engine.records import RESERVED, is_type_name, slug_in, slug_of, type_problems
from store import entity_types, latest
from store.database import Database, Tx
from store.entity_types import NewType, TypeRow

#: Workflows that an error names.
_NAMED = 20


@dataclass(frozen=True)
class Page:
    """Some types, and how many there are in all."""

    rows: list[TypeRow]
    total: int


class EntityTypes:
    """The types of every organisation, each through its callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, caller: Caller, new: NewType) -> TypeRow:
        """A new type; its slug is made of its plural where it has none.

        Raises:
            Invalid: the name or the fields are not as they may be.
            Conflict: there is one of this name or this slug.
        """
        _require_valid(new.name, new.fields)
        made = NewType(
            name=new.name,
            plural_name=new.plural_name,
            slug=new.slug or slug_of(new.plural_name).lower(),
            description=new.description,
            icon=new.icon,
            fields=_with_slugs(new.fields),
        )
        return await self._database.write(lambda tx: entity_types.create(tx, caller.org_id, made))

    async def get(self, caller: Caller, named: str) -> TypeRow:
        """The type of this id or name.

        Raises:
            NotFound: there is none in the caller's organisation.
        """
        return await self._database.read(lambda tx: entity_types.get(tx, caller.org_id, named))

    async def page(self, caller: Caller, limit: int, offset: int) -> Page:
        """Oldest first."""
        rows, total = await self._database.read(
            lambda tx: entity_types.page(tx, caller.org_id, limit=limit, offset=offset)
        )
        return Page(rows, total)

    async def change(self, caller: Caller, named: str, changes: dict[str, Any]) -> TypeRow:
        """The type with these columns changed; `fields` replaces the whole list.

        Raises:
            NotFound: there is no such type.
            Conflict: it is a builtin one, or another one has the name or the slug.
            Invalid: the name or the fields are not as they may be.
        """
        _require_valid(changes.get("name"), changes.get("fields", []))
        if "fields" in changes:
            changes = changes | {"fields": _with_slugs(changes["fields"])}
        return await self._database.write(
            lambda tx: entity_types.change(tx, caller.org_id, named, changes)
        )

    async def delete(self, caller: Caller, named: str) -> TypeRow:
        """Delete a type that no record has and no workflow names; what it was.

        Raises:
            NotFound: there is no such type.
            Conflict: it is a builtin one, has records, or workflows run over its entities.
        """

        def work(tx: Tx) -> TypeRow:
            row = entity_types.delete(tx, caller.org_id, named)
            # Whoever saves a workflow holds its type, so none comes between.
            names = latest.over_type(tx, caller.org_id, row.id)
            if names:
                raise Conflict(f"Workflows run over its entities: {_listed(names)}.")
            return row

        return await self._database.write(work)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def _require_valid(name: str | None, fields: list[dict[str, Any]]) -> None:
    problems = type_problems(fields)
    if name is not None and not is_type_name(name):
        message = (
            "name: must be letters, digits, spaces, hyphens and underscores, begin with a letter,"
            f" look like no id and be none of {', '.join(sorted(RESERVED))}"
        )
        problems = [Problem(message, path="name"), *problems]
    if problems:
        raise Invalid("The entity type is not valid.", problems=problems)


def _with_slugs(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fields, each with the slug that it is known by from now on."""
    return [field | {"slug": slug_in(field)} for field in fields]
