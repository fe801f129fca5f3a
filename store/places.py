"""The places of an organisation: how many of its runs may be carried out at a time.

An execution that runs holds one, unless it is parked (`store.parking`). Whoever frees a place gives
it to the run that has waited longest, in the same transaction; the signal that tells that run
follows the commit, and the sweeper repeats a lost one. Source: DESIGN §3.3.

    status    admitted  parked
    queued    no        no      waits for a place
    queued    yes       no      was given one, and has not begun
    running   yes       no      holds one
    running   no        yes     wants none: it only waits
    running   no        no      waits for a place again
    running   yes       yes     was given one, and has not taken note of it

Whoever gives, takes or frees a place locks the organisation's row before that of any run, and keeps
it to the end. So these transactions cannot deadlock on PostgreSQL, and the times that they write
into the log of events are in the order of what happened.
"""

from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import and_, bindparam, case, func, or_, select, update

from engine.lifecycle import EventType, RunStatus
from store import events
from store.clock import now
from store.database import Tx
from store.events import NewEvent
from store.runs import RunRow
from store.tables import organisations, runs


class Execution(NamedTuple):
    """An execution: the run's id, its number, and the workflow id that it has in Temporal."""

    run: str
    n: int
    temporal_id: str


#: The states in which a run has or wants a place.
LIVE = (RunStatus.QUEUED, RunStatus.RUNNING)

# Built once: making a statement costs more than carrying it out.
# `key_share`: whoever only refers to the row, as a new run does, need not wait.
_LOCK = (
    select(organisations.c.id)
    .where(organisations.c.id == bindparam("org"))
    .with_for_update(key_share=True)
)
_LOCK_OF = (
    select(organisations.c.id)
    .where(
        organisations.c.id
        == select(runs.c.org_id).where(runs.c.id == bindparam("run")).scalar_subquery()
    )
    .with_for_update(key_share=True)
)
_WANTING = and_(runs.c.status.in_(LIVE), runs.c.admitted.is_(False), runs.c.parked.is_(False))
_HELD = select(func.count()).where(
    runs.c.org_id == bindparam("org"), runs.c.status.in_(LIVE), runs.c.admitted.is_(True)
)
_AHEAD = select(func.count()).where(
    runs.c.org_id == bindparam("org"),
    runs.c.status.in_(LIVE),
    or_(
        runs.c.admitted.is_(True),
        and_(
            runs.c.parked.is_(False),
            or_(
                runs.c.queued_at < bindparam("at"),
                and_(runs.c.queued_at == bindparam("at"), runs.c.id < bindparam("run")),
            ),
        ),
    ),
)
_WAITING = (
    select(runs.c.id)
    .where(
        runs.c.org_id == bindparam("org"),
        _WANTING,
    )
    .order_by(runs.c.queued_at, runs.c.id)
    .limit(bindparam("free"))
    # A run that is being cancelled or paused meanwhile is waited for, and then passed over.
    .with_for_update(key_share=True)
    .cte("waiting")
)
_WAITED_FOR = select(runs.c.org_id).where(_WANTING).distinct().order_by(runs.c.org_id)
_GIVE = (
    update(runs)
    .where(runs.c.id.in_(select(_WAITING.c.id)))
    # An execution that runs has to take note of it; one that is queued does so by beginning.
    .values(
        admitted=True,
        parked=case((runs.c.status == RunStatus.RUNNING, True), else_=False),
        updated_at=bindparam("at"),
    )
    .returning(runs.c.id, runs.c.n, runs.c.temporal_id, runs.c.queued_at)
)


def room_for(tx: Tx, row: RunRow, limit: int) -> bool:
    """Whether there is a place for this run and for every one that has waited longer.

    The usual case; the others are left to take their own, so that nobody has to be told.
    """
    lock(tx, row.org_id)
    ahead = {"org": row.org_id, "at": row.queued_at, "run": row.id}
    taken: int = tx.execute(_AHEAD, ahead).scalar_one()
    return taken < limit


def lock(tx: Tx, org_id: str) -> None:
    """Keep others from counting the same places; SQLite has one writer at a time anyway."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK, {"org": org_id})


def lock_of(tx: Tx, run_id: str) -> None:
    """`lock` for the organisation of a run."""
    if tx.dialect.name != "sqlite":
        tx.execute(_LOCK_OF, {"run": run_id})


def hand_on(tx: Tx, org_id: str, limit: int) -> list[Execution]:
    """Give free places to the runs that have waited longest; the executions that got one."""
    lock(tx, org_id)
    held = tx.execute(_HELD, {"org": org_id}).scalar_one()
    if held >= limit:
        return []
    return _give(tx, org_id, limit - held)


def pass_on(tx: Tx, org_id: str, freed: int = 1) -> list[Execution]:
    """Give places that were freed in this transaction to the runs that have waited longest."""
    if not freed:
        return []
    lock(tx, org_id)
    return _give(tx, org_id, freed)


def hand_on_all(tx: Tx, limit: int) -> list[Execution]:
    """`hand_on` in every organisation where a run waits for a place.

    For the sweeper: with a higher limit than before, places are free that nobody gives back.
    """
    given: list[Execution] = []
    for org_id in tx.execute(_WAITED_FOR).scalars().all():
        given += hand_on(tx, org_id, limit)
    return given


def _give(tx: Tx, org_id: str, free: int) -> list[Execution]:
    rows = tx.execute(_GIVE, {"org": org_id, "free": free, "at": now()})
    by_age = sorted(rows, key=lambda row: (row.queued_at, row.id))
    given = [Execution(row.id, row.n, row.temporal_id) for row in by_age]
    for execution in given:
        told: dict[str, JsonValue] = {"execution": execution.n}
        events.append(tx, execution.run, [NewEvent(EventType.RUN_ADMITTED, data=told)])
    return given
