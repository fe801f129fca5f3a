"""Where `publish` steps put content: found by id or by name, which is unique in an organisation."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Insert, Row, Update, bindparam, case, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from engine.bucket import Bucket, of_text, to_text
from engine.errors import Conflict, NotFound
from store.batch_tables import buckets
from store.clock import now
from store.database import Tx
from store.ids import new_id

#: The one of this id goes before one that has it for a name.
_FIND = (
    select(buckets)
    .where(
        buckets.c.org_id == bindparam("org"),
        or_(buckets.c.id == bindparam("named"), buckets.c.name == bindparam("named")),
    )
    .order_by(case((buckets.c.id == bindparam("named"), 0), else_=1))
    .limit(1)
)


@dataclass(frozen=True)
class BucketRow:
    """A bucket. Times are microseconds UTC."""

    id: str
    org_id: str
    name: str
    bucket: Bucket
    created_at: int
    updated_at: int


def create(tx: Tx, org_id: str, name: str, bucket: Bucket) -> BucketRow:
    """A new bucket.

    Raises:
        Conflict: the organisation has one of this name.
    """
    at = now()
    values = {"id": new_id(), "org_id": org_id, "created_at": at, "updated_at": at}
    return _kept(tx, buckets.insert().values(**values, name=name, spec=to_text(bucket)))


def find(tx: Tx, org_id: str, named: str) -> BucketRow:
    """The bucket of this id or, without one, of this exact name.

    Raises:
        NotFound: there is none, or it is another organisation's.
    """
    row = tx.execute(_FIND, {"org": org_id, "named": named}).one_or_none()
    if row is None:
        raise _absent()
    return _row(row)


def page(tx: Tx, org_id: str, *, limit: int, offset: int) -> tuple[list[BucketRow], int]:
    """A page of the organisation's buckets by name, and how many there are in all."""
    mine = buckets.c.org_id == org_id
    rows = tx.execute(
        select(buckets).where(mine).order_by(buckets.c.name).limit(limit).offset(offset)
    ).all()
    total = tx.execute(select(func.count()).select_from(buckets).where(mine)).scalar_one()
    return [_row(row) for row in rows], total


def replace(tx: Tx, org_id: str, bucket_id: str, name: str, bucket: Bucket) -> BucketRow:
    """Give a bucket another name and another place; what it has already changes nothing.

    Raises:
        NotFound: there is none of this id, or it is another organisation's.
        Conflict: another bucket of the organisation has the name.
    """
    row = find(tx, org_id, bucket_id)
    if (row.name, to_text(row.bucket)) == (name, to_text(bucket)):
        return row
    return _kept(
        tx,
        update(buckets)
        .where(buckets.c.id == bucket_id, buckets.c.org_id == org_id)
        .values(name=name, spec=to_text(bucket), updated_at=now()),
    )


def remove(tx: Tx, org_id: str, bucket_id: str) -> None:
    """Forget a bucket; what it holds and the workflows that name it are left as they are.

    Raises:
        NotFound: there is none of this id, or it is another organisation's.
    """
    gone = tx.execute(
        delete(buckets)
        .where(buckets.c.id == bucket_id, buckets.c.org_id == org_id)
        .returning(buckets.c.id)
    )
    if gone.first() is None:
        raise _absent()


def _kept(tx: Tx, statement: Insert | Update) -> BucketRow:
    try:
        with tx.begin_nested():
            row = tx.execute(statement.returning(buckets)).one_or_none()
    except IntegrityError:
        raise Conflict("There is a bucket of this name already.", code="bucket_exists") from None
    if row is None:
        raise _absent()
    return _row(row)


def _absent() -> NotFound:
    return NotFound("There is no such bucket.", code="bucket_not_found")


def _row(row: Row[Any]) -> BucketRow:
    return BucketRow(
        id=row.id,
        org_id=row.org_id,
        name=row.name,
        bucket=of_text(row.spec),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
