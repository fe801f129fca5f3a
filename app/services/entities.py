"""Records: made, changed, deleted, restored and read. What follows from it is dispatched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.services.aftermath import Aftermath
from app.services.auth import Caller
from app.services.once import Answered, Once, keep, recall
from app.services.spelling import bare
from engine.errors import Invalid, NotFound, Problem
from engine.records import PREFIXES, spelled_id
from store import entities, entity_types, publishing
from store.database import Database, Tx
from store.entities import EntityRow, Written
from store.ids import new_id
from store.publishing import Verdicts
from store.runs import RunRow

Change = Callable[[Tx, Verdicts, int], Written]


@contextmanager
def known_type(path: str) -> Iterator[None]:
    """Say where in the request the type stands that is not there.

    Raises:
        Invalid: there is no such type.
    """
    try:
        yield
    except NotFound as error:
        message = f"{path}: there is no such entity type"
        raise Invalid(message, problems=[Problem(message, path=path)]) from error


@dataclass(frozen=True)
class Page:
    """Some records, whether more follow, and how many there are in all."""

    rows: list[EntityRow]
    more: bool
    total: int


class Entities:
    """The records of every organisation, each through its callers."""

    def __init__(self, database: Database, aftermath: Aftermath) -> None:
        self._database = database
        self._aftermath = aftermath

    async def create(
        self,
        caller: Caller,
        type_named: str,
        fields: dict[str, Any],
        once: Once | None,
        answer: Callable[[EntityRow], Answered],
    ) -> Answered:
        """A new record; answers once the runs that it starts are accepted and dispatched.

        Args:
            caller: whose record it is.
            type_named: the id or the name of its type.
            fields: as the type says.
            once: when given, the same key within 24 h makes nothing and gets the first answer.
            answer: makes the answer, which is kept in the same transaction.

        Raises:
            Invalid: there is no such type, the fields are not as it says, or the key came before
                with another body (`idempotency_key_reused`).
        """
        new = entities.new_entity(fields)

        def work(tx: Tx, verdicts: Verdicts) -> tuple[Answered, list[RunRow]]:
            if earlier := recall(tx, caller.org_id, once):
                return earlier, []
            depth = publishing.depth_of(tx, caller.org_id, once.key if once else None)
            with known_type("entityTypeId"):
                written = entities.create(tx, caller.org_id, type_named, new, verdicts, depth)
            answered = answer(written.row)
            keep(tx, caller.org_id, once, answered)
            return answered, written.runs

        answered, runs = await publishing.publishing(self._database, work)
        await self._aftermath.follow(runs)
        return answered

    async def get(self, caller: Caller, entity_id: str) -> EntityRow:
        """The record, also a deleted one that can be restored.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(lambda tx: entities.get(tx, caller.org_id, entity_id))

    async def id_of(self, caller: Caller, written: str) -> str:
        """The hex digits of a record's id, written as here or as on `/v1`, with its type's prefix.

        Raises:
            NotFound: a prefix is not that of the record's type, or there is no such record.
        """
        prefix = next((one for one in PREFIXES.values() if written.startswith(one)), None)
        if prefix is None:
            return bare("", written)
        digits = bare(prefix, written)

        def work(tx: Tx) -> str:
            row = entities.get(tx, caller.org_id, digits)
            kind = entity_types.get(tx, caller.org_id, row.type_id)
            # Asked for under an id that nothing has, so that it is refused in the same words.
            fits = spelled_id(kind.name, row.id) == written
            return row.id if fits else entities.get(tx, caller.org_id, "-").id

        return await self._database.read(work)

    async def page(
        self,
        caller: Caller,
        type_named: str,
        *,
        archived: bool,
        oldest_first: bool,
        after: str | None,
        limit: int,
        offset: int,
    ) -> Page:
        """Records of a type, or the deleted ones of it.

        Args:
            caller: whose records.
            type_named: the id or the name of their type.
            archived: the deleted ones instead.
            oldest_first: else the newest comes first.
            after: a record of the type, as in `id_of`: those that follow it.
            limit: how many at most.
            offset: how many are left out first; goes not with `after`.

        Raises:
            Invalid: there is no such type, or no such record of it.
        """
        if after is not None and offset:
            raise _misplaced("query.offset: goes not with after", "query.offset")
        behind = None if after is None else await self._behind(caller, after)

        def work(tx: Tx) -> Page:
            with known_type("query.entityTypeId"):
                kind = entity_types.get(tx, caller.org_id, type_named)
            if behind is not None and behind.type_id != kind.id:
                raise _no_mark()
            rows, more, total = entities.page(
                tx,
                caller.org_id,
                kind.id,
                archived=archived,
                oldest_first=oldest_first,
                behind=behind,
                limit=limit,
                offset=offset,
            )
            return Page(rows, more, total)

        return await self._database.read(work)

    async def _behind(self, caller: Caller, written: str) -> EntityRow:
        try:
            return await self.get(caller, await self.id_of(caller, written))
        except NotFound as error:
            raise _no_mark() from error

    async def change(
        self, caller: Caller, entity_id: str, fields: dict[str, Any], key: str | None
    ) -> EntityRow:
        """The record with these fields changed; null takes one away.

        `key` is the request's `Idempotency-Key`, by which a step of a run is known; so below.

        Raises:
            NotFound: there is no such record.
            Conflict: it was deleted.
            Invalid: the fields are not as the type says.
        """
        event_id = new_id()
        return await self._write(
            caller,
            key,
            lambda tx, verdicts, depth: entities.change(
                tx, caller.org_id, entity_id, fields, verdicts, event_id, depth
            ),
        )

    async def archive(self, caller: Caller, entity_id: str, key: str | None) -> EntityRow:
        """Delete the record; it can be restored for 30 days.

        Raises:
            NotFound: there is no such record.
        """
        event_id = new_id()
        return await self._write(
            caller,
            key,
            lambda tx, verdicts, depth: entities.archive(
                tx, caller.org_id, entity_id, verdicts, event_id, depth
            ),
        )

    async def restore(self, caller: Caller, entity_id: str, key: str | None) -> EntityRow:
        """Take a deletion back.

        Raises:
            NotFound: there is no such record.
        """
        event_id = new_id()
        return await self._write(
            caller,
            key,
            lambda tx, verdicts, depth: entities.restore(
                tx, caller.org_id, entity_id, verdicts, event_id, depth
            ),
        )

    async def _write(self, caller: Caller, key: str | None, change: Change) -> EntityRow:
        def work(tx: Tx, verdicts: Verdicts) -> Written:
            return change(tx, verdicts, publishing.depth_of(tx, caller.org_id, key))

        written = await publishing.publishing(self._database, work)
        await self._aftermath.follow(written.runs)
        return written.row


def _no_mark() -> Invalid:
    return _misplaced("query.after: there is no such entity of the type", "query.after")


def _misplaced(message: str, path: str) -> Invalid:
    return Invalid(message, problems=[Problem(message, path=path)])
