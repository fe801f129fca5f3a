"""Who alone may do a thing just now: the sweeper, for one.

A lease guards effort, not correctness. Its times are those of the processes' own clocks, and a
holder that stood still may go on after its lease has passed to another.
"""

from sqlalchemy import delete

from store.clock import SECOND, now
from store.database import Tx, insert
from store.tables import leases


def take(tx: Tx, name: str, holder: str, seconds: float) -> bool:
    """Take the lease, or renew it; whether the holder has it for the next so many seconds."""
    at = now()
    until = at + int(seconds * SECOND)
    taken = tx.execute(
        insert(tx, leases)
        .values(name=name, holder=holder, until=until)
        .on_conflict_do_update(
            index_elements=["name"],
            set_={"holder": holder, "until": until},
            where=(leases.c.holder == holder) | (leases.c.until <= at),
        )
        .returning(leases.c.holder)
    ).one_or_none()
    return taken is not None


def release(tx: Tx, name: str, holder: str) -> None:
    """Give the lease up, if the holder still has it."""
    tx.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))
