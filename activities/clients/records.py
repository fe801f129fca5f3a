"""Records, as steps see them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from pydantic import JsonValue

from engine.errors import NotFound, StepError
from engine.records import bare_id
from store import entities, entity_types
from store.database import Database, Tx
from store.entities import EntityRow
from store.entity_types import TypeRow

#: Records that one transaction looks at.
PAGE = 500

#: Whether a record is one of those that are looked for.
Test = Callable[[dict[str, JsonValue]], bool]


@dataclass
class Found:
    """Records that were found, oldest first, and how many there are in all."""

    records: list[EntityRow] = field(default_factory=list)
    total: int = 0


class Records:
    """The records of every organisation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, org_id: str, type_named: str, test: Test, limit: int) -> Found:
        """The first so many records of a type that pass the test, as expressions see them.

        Raises:
            StepError: `entity_type_not_found`, not retryable.
            Unavailable: the database does not answer.
        """
        kind = await self._kind(org_id, type_named)
        found = Found()
        last: EntityRow | None = None
        while True:
            page = partial(_passing, kind=kind, test=test, last=last)
            rows, passed = await self._database.read(page)
            found.records += passed[: limit - len(found.records)]
            found.total += len(passed)
            if len(rows) < PAGE:
                return found
            last = rows[-1]

    async def _kind(self, org_id: str, named: str) -> TypeRow:
        try:
            return await self._database.read(lambda tx: entity_types.get(tx, org_id, named))
        except NotFound:
            raise StepError(
                "entity_type_not_found",
                f"There is no entity type '{named[:100]}'.",
                retryable=False,
            ) from None

    async def vendor(self, org_id: str, written: str) -> EntityRow:
        """The vendor of this id, with its prefix or without.

        Raises:
            StepError: `vendor_not_found`, not retryable: there is none, or it was deleted.
            Unavailable: the database does not answer.
        """

        def work(tx: Tx) -> EntityRow | None:
            return entities.live(tx, org_id, "Vendor", bare_id("Vendor", written) or "-")

        row = await self._database.read(work)
        if row is None:
            raise StepError(
                "vendor_not_found", f"There is no vendor '{written[:100]}'.", retryable=False
            )
        return row


def _passing(
    tx: Tx, kind: TypeRow, test: Test, last: EntityRow | None
) -> tuple[list[EntityRow], list[EntityRow]]:
    """A page of the type's records, and those of them that pass."""
    rows = entities.after(tx, kind.org_id, kind.id, last, PAGE)
    return rows, [row for row in rows if test(entity_of(kind.name, row))]


def entity_of(type_name: str, row: EntityRow) -> dict[str, JsonValue]:
    """A record as expressions see it."""
    return {"id": row.id, "type": type_name, "fields": row.fields}
