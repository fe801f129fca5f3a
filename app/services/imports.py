"""Bulk import: records out of one long body, a batch at a time.

A batch is one transaction with its events and the runs that they start, and those are dispatched
before the next batch is read: so a client that is quicker than the database waits, and nothing
piles up. Rows that are not as their type says are told and passed over.

With an `Idempotency-Key` the id of a record follows from the key, the row and what is in it. So the
same body may be sent again after it was cut off anywhere, and no record is made or told of twice.
Ids and times of records ascend with their rows, so either of them gives the order of the body.
"""

import asyncio
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

from app.services.aftermath import Aftermath
from app.services.auth import Caller
from app.services.door import Refused
from app.services.entities import known_type
from app.services.failpoints import failpoint
from app.services.once import REUSED, Answered, Once
from app.services.rows import CSV, Body, Row
from engine.errors import Invalid, Problem
from engine.records import from_cell, slug_in
from store import entities, entity_types, idempotency, publishing
from store.clock import now
from store.database import Database, Tx
from store.entities import NewEntity
from store.entity_types import TypeRow
from store.idempotency import Remembered
from store.ids import new_id, placed_id
from store.publishing import Verdicts
from store.runs import RunRow
from store.values import encode

#: Rows of one transaction, and characters of their fields.
BATCH = 250
_BATCH_SIZE = 1 << 20
#: Rows whose errors are told, and characters of what is said of one.
TOLD = 100
_MESSAGE = 300


class RowError(NamedTuple):
    """What is wrong with a row, from 1."""

    row: int
    message: str


@dataclass
class Imported:
    """What has come of an import; `errors` are the first `TOLD`."""

    imported: int = 0
    failed: int = 0
    errors: list[RowError] = field(default_factory=list)

    def refuse(self, row: int, message: str) -> None:
        """Count a row that could not be used.

        What a type refuses comes a batch later than what could not be read, so rows come in no
        order.
        """
        self.failed += 1
        insort(self.errors, RowError(row, message[:_MESSAGE]))
        del self.errors[TOLD:]


class _Line(NamedTuple):
    """A row with the ids that it has however often its transaction is tried."""

    row: Row
    id: str
    event_id: str


class _Batch(NamedTuple):
    """What one transaction has come to.

    Attributes:
        imported: rows that are there by now.
        until: no record was made at this time, in microseconds, or later.
    """

    imported: int
    refused: list[RowError]
    runs: list[RunRow]
    until: int


class Imports:
    """Imports into every organisation, each through its callers."""

    def __init__(self, database: Database, aftermath: Aftermath) -> None:
        self._database = database
        self._aftermath = aftermath

    async def run(
        self,
        caller: Caller,
        type_named: str | None,
        body: Body,
        once: Once | None,
        answer: Callable[[Imported], Answered],
    ) -> Answered:
        """Import every row of a body.

        Args:
            caller: whose records they become.
            type_named: the id or the name of their type, unless the body names it first.
            body: its rows.
            once: see above; once there is an answer the same key gets it again.
            answer: makes the answer.

        Raises:
            Invalid: there is no such type, or none is named (nothing was imported then), or the
                key came before with another body (`idempotency_key_reused`).
            Refused: the body cannot be read on; rows before that place are imported, and the
                message says how many.
        """
        if once is None:
            ids = _Ids(now() // 1_000, new_id())
            return answer(
                await _Import(self._database, self._aftermath, caller, type_named, ids).of(body)
            )
        reserved = await self._database.write(partial(_reserve, caller.org_id, once))
        if reserved.status_code is not None and reserved.body is not None:
            await body.drain()
            if _fingerprint(type_named, body) != reserved.fingerprint:
                raise Invalid(REUSED, code="idempotency_key_reused")
            return Answered("", reserved.status_code, reserved.body, replayed=True)
        ids = _Ids(reserved.created_at // 1_000, f"{caller.org_id}/{once.key}")
        under_way = _Import(self._database, self._aftermath, caller, type_named, ids, once.key)
        done = await under_way.of(body)
        answered = answer(done)
        await self._database.write(
            lambda tx: idempotency.remember(
                tx,
                caller.org_id,
                once.endpoint,
                once.key,
                status_code=answered.status,
                body=answered.body,
                fingerprint=_fingerprint(type_named, body),
            )
        )
        return answered


def _reserve(org_id: str, once: Once, tx: Tx) -> Remembered:
    """What is known of the key, which is taken when it is new."""
    while True:
        known = idempotency.reserve(tx, org_id, once.endpoint, once.key, "")
        if known is not None:
            return known


def _fingerprint(type_named: str | None, body: Body) -> str:
    text = f"{body.kind}\n{type_named or ''}\n{body.digest}"
    return sha256(text.encode()).hexdigest()


class _Ids(NamedTuple):
    """What the ids of an import are made of: when it began, in milliseconds, and what it is."""

    began: int
    of: str

    def id_of(self, row: Row) -> str:
        """The id of the record of a row: the same for the same import, place and content."""
        content = encode(row.fields, sort=True)
        return placed_id(self.began, row.number, f"{self.of}/{row.number}/{content}")


class _Import:
    """One import under way."""

    def __init__(
        self,
        database: Database,
        aftermath: Aftermath,
        caller: Caller,
        type_named: str | None,
        ids: _Ids,
        key: str | None = None,
    ) -> None:
        self._database = database
        self._aftermath = aftermath
        self._org_id = caller.org_id
        self._type_named = type_named
        self._ids = ids
        self._key = key
        self._until = 0
        self._done = Imported()
        self._dispatching = True

    async def of(self, body: Body) -> Imported:
        """Import all of it."""
        batch: list[_Line] = []
        size = 0
        try:
            async for row in body.rows():
                if row.fields is None:
                    self._done.refuse(row.number, row.message)
                    if self._done.failed % BATCH == 0:
                        # No batch comes of these, and so no pause for others.
                        await asyncio.sleep(0)
                    continue
                batch.append(_Line(row, self._ids.id_of(row), new_id()))
                size += row.size
                if len(batch) == BATCH or size > _BATCH_SIZE:
                    await self._write(body, batch)
                    batch, size = [], 0
        except Refused as error:
            if batch and (body.type_named or self._type_named):
                await self._write(body, batch)
            told = f"{error.message} {self._done.imported} rows before that were imported."
            raise Refused(error.status, error.stable_code, told) from error
        await self._write(body, batch)
        return self._done

    async def _write(self, body: Body, batch: Sequence[_Line]) -> None:
        named = body.type_named or self._type_named
        if named is None:
            raise _no_type("must be named, in the query or in JSON before entities")
        if self._type_named not in (None, named):
            raise _no_type("is another one in the query than in the body")
        written = await publishing.publishing(
            self._database,
            partial(
                _write,
                self._org_id,
                named,
                batch,
                key=self._key,
                csv=body.kind == CSV,
                after=self._until,
            ),
        )
        self._until = written.until
        failpoint("import.after_batch")
        self._done.imported += written.imported
        for refused in written.refused:
            self._done.refuse(*refused)
        if self._dispatching:
            # Once Temporal is away, the sweeper starts what is still to come.
            self._dispatching = await self._aftermath.follow(written.runs)


def _no_type(why: str) -> Invalid:
    message = f"entityTypeId: {why}"
    return Invalid(message, problems=[Problem(message, path="entityTypeId")])


def _write(
    org_id: str,
    named: str,
    batch: Sequence[_Line],
    tx: Tx,
    verdicts: Verdicts,
    *,
    key: str | None,
    csv: bool,
    after: int,
) -> _Batch:
    with known_type("entityTypeId"):
        kind = entity_types.hold(tx, org_id, named)
    columns = _Columns(kind) if csv else None
    new, refused = [], []
    for line in batch:
        assert line.row.fields is not None
        fields = columns.read(line.row.fields) if columns else line.row.fields
        fields = entities.without_nulls(fields)
        try:
            entities.check(kind, fields)
        except Invalid as error:
            told = "; ".join(problem.message for problem in error.problems)
            refused.append(RowError(line.row.number, told or error.message))
        else:
            new.append(NewEntity(fields, line.id, line.event_id))
    depth = publishing.depth_of(tx, org_id, key)
    # The clock may have been set back since the batch before.
    at = max(now(), after)
    runs = entities.add(tx, kind, new, verdicts, depth, at)
    return _Batch(len(new), refused, runs, at + len(new))


class _Columns:
    """Which field a column of a CSV file is: named by its slug or its name, or one of no field."""

    def __init__(self, kind: TypeRow) -> None:
        self._fields: dict[str, dict[str, Any]] = {slug_in(one): one for one in kind.fields}
        self._slugs = {str(one.get("name")): slug_in(one) for one in kind.fields}

    def read(self, cells: dict[str, str]) -> dict[str, Any]:
        """The fields that the cells of a row stand for.

        Raises:
            Invalid: two columns are the same field, one by its name and one by its slug.
        """
        found: dict[str, Any] = {}
        for column, cell in cells.items():
            slug = column if column in self._fields else self._slugs.get(column, column)
            if slug in found:
                raise Invalid(f"The first line names field '{slug}' twice, by its name and slug.")
            found[slug] = from_cell(self._fields.get(slug), cell)
        return found
