"""The audit log: who called what, and how it ended. Never a body, a value or a secret.

Written in batches beside the requests, read newest first, and thrown away by age.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row, delete, select, tuple_

from store.database import Tx, insert
from store.tables import audit
from store.values import decode_strings, encode


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        id: its own, from `store.ids.new_id`.
        org_id: whose key it came with.
        at: when it came, in microseconds UTC.
        key_id: that key.
        key_name: what the key was called then.
        method: as in `GET`.
        route: the path of the route, with `{names}` of parameters in it.
        path: as it was sent, percent-encoded, without the query.
        parameters: the names in the query, without their values.
        status: of the answer; None when the caller went before there was one.
        duration_ms: until the answer was sent, for a stream to its end.
        client_ip: whom it came from, if that is known.
        correlation_id: what the answer was marked with.
    """

    id: str
    org_id: str
    at: int
    key_id: str
    key_name: str
    method: str
    route: str
    path: str
    parameters: Sequence[str]
    status: int | None
    duration_ms: int
    client_ip: str | None
    correlation_id: str


def add(tx: Tx, calls: Sequence[Call]) -> None:
    """Write calls down; those that are there already stay as they are."""
    if calls:
        tx.execute(
            insert(tx, audit).on_conflict_do_nothing(index_elements=["id"]),
            [asdict(call) | {"parameters": encode([*call.parameters])} for call in calls],
        )


def page(
    tx: Tx,
    org_id: str,
    *,
    limit: int,
    before: str | None = None,
    key_id: str | None = None,
    status: int | None = None,
    since: int | None = None,
    until: int | None = None,
) -> list[Call]:
    """Some of an organisation's calls, newest first.

    Args:
        tx: The transaction.
        org_id: Whose.
        limit: How many at most.
        before: The id of a call: only older ones. When it is no longer there, neither are they.
        key_id: Only those of this key.
        status: Only those answered so.
        since: Only those of this time (microseconds UTC) or later.
        until: Only those before this time.
    """
    found = select(audit).where(audit.c.org_id == org_id)
    if before is not None:
        last = select(audit.c.at, audit.c.id).where(audit.c.org_id == org_id, audit.c.id == before)
        found = found.where(tuple_(audit.c.at, audit.c.id) < last.scalar_subquery())
    if key_id is not None:
        found = found.where(audit.c.key_id == key_id)
    if status is not None:
        found = found.where(audit.c.status == status)
    if since is not None:
        found = found.where(audit.c.at >= since)
    if until is not None:
        found = found.where(audit.c.at < until)
    rows = tx.execute(found.order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit))
    return [_call(row) for row in rows]


def purge(tx: Tx, before: int, limit: int) -> int:
    """Forget calls of before this time, oldest first, at most so many; answers how many."""
    oldest = select(audit.c.id).where(audit.c.at < before).order_by(audit.c.at).limit(limit)
    return tx.execute(delete(audit).where(audit.c.id.in_(oldest))).rowcount


def _call(row: Row[Any]) -> Call:
    return Call(**{**row._asdict(), "parameters": tuple(decode_strings(row.parameters))})
