"""What was answered to a request that carried an idempotency key, for 24 hours.

A reservation, the run that it stands for and the run's first event are one transaction. So a second
request with the key waits for that transaction and then finds either all of it or nothing.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select, tuple_, update

from store.clock import HOUR, now
from store.database import Tx, insert
from store.tables import idempotency

#: How long a key is remembered.
REMEMBERED = 24 * HOUR


@dataclass(frozen=True)
class Remembered:
    """What is known of an earlier request.

    Attributes:
        fingerprint: of its body.
        run_id: the run that it started.
        status_code: of its answer; None while there is none to repeat.
        body: the bytes of its answer.
        created_at: microseconds UTC.
    """

    fingerprint: str
    run_id: str | None
    status_code: int | None
    body: bytes | None
    created_at: int


def reserve(tx: Tx, org_id: str, endpoint: str, key: str, fingerprint: str) -> Remembered | None:
    """Take the key, or say who had it first.

    Args:
        tx: The transaction that also writes the run.
        org_id: The organisation: its keys of either kind share one scope.
        endpoint: Method and concrete path.
        key: The request's idempotency key.
        fingerprint: What the request's body is compared by.

    Returns:
        None when the key is now the caller's, also because it was last used over 24 hours ago;
        otherwise the request that has it.
    """
    at = now()
    statement = insert(tx, idempotency).values(
        org_id=org_id,
        endpoint=endpoint,
        key=key,
        fingerprint=fingerprint,
        run_id=None,
        status_code=None,
        body=None,
        created_at=at,
    )
    ours = tx.execute(
        statement.on_conflict_do_update(
            index_elements=["org_id", "endpoint", "key"],
            set_={
                name: statement.excluded[name]
                for name in ("fingerprint", "run_id", "status_code", "body", "created_at")
            },
            where=idempotency.c.created_at <= at - REMEMBERED,
        ).returning(idempotency.c.created_at)
    ).one_or_none()
    if ours is not None:
        return None
    row = tx.execute(select(idempotency).where(_is(org_id, endpoint, key))).one_or_none()
    if row is None:
        # Purged between the two statements, so the key is free again.
        return reserve(tx, org_id, endpoint, key, fingerprint)
    return Remembered(
        fingerprint=row.fingerprint,
        run_id=row.run_id,
        status_code=row.status_code,
        body=row.body,
        created_at=row.created_at,
    )


def remember(
    tx: Tx,
    org_id: str,
    endpoint: str,
    key: str,
    *,
    run_id: str | None = None,
    status_code: int | None = None,
    body: bytes | None = None,
    fingerprint: str | None = None,
) -> None:
    """Add to a reservation what is known by now; what is None stays as it was."""
    known: dict[str, Any] = {
        "run_id": run_id,
        "status_code": status_code,
        "body": body,
        "fingerprint": fingerprint,
    }
    known = {name: value for name, value in known.items() if value is not None}
    if known:
        tx.execute(update(idempotency).where(_is(org_id, endpoint, key)).values(known))


def purge(tx: Tx, before: int, limit: int) -> int:
    """Forget keys of before this time, oldest first, at most so many; answers how many."""
    named = (idempotency.c.org_id, idempotency.c.endpoint, idempotency.c.key)
    oldest = (
        select(*named)
        .where(idempotency.c.created_at < before)
        .order_by(idempotency.c.created_at)
        .limit(limit)
    )
    return tx.execute(delete(idempotency).where(tuple_(*named).in_(oldest))).rowcount


def _is(org_id: str, endpoint: str, key: str) -> ColumnElement[bool]:
    return (
        (idempotency.c.org_id == org_id)
        & (idempotency.c.endpoint == endpoint)
        & (idempotency.c.key == key)
    )
