"""The heartbeats of worker processes: who is alive, and since when."""

from sqlalchemy import delete, exists, func, select

from store.clock import DAY, now
from store.database import Tx, insert
from store.tables import workers


def beat(tx: Tx, worker_id: str, started_at: int) -> None:
    """Note that the worker lives, and forget those that were silent for a day."""
    at = now()
    tx.execute(
        insert(tx, workers)
        .values(id=worker_id, started_at=started_at, seen_at=at)
        .on_conflict_do_update(
            index_elements=["id"], set_={"started_at": started_at, "seen_at": at}
        )
    )
    tx.execute(delete(workers).where(workers.c.seen_at < at - DAY))


def seen_since(tx: Tx, at: int) -> int:
    """How many workers beat at this time or later."""
    return tx.execute(
        select(func.count()).select_from(workers).where(workers.c.seen_at >= at)
    ).scalar_one()


def alive(tx: Tx, worker_id: str, since: int) -> bool:
    """Whether this worker beat at that time or later."""
    seen = exists().where(workers.c.id == worker_id, workers.c.seen_at >= since)
    return bool(tx.scalar(select(seen)))
