"""Runs that only wait: they give their place back, and ask for one again when they go on.

Both acts name how often the run has given its place back before. One that comes too late, from a
worker that stood still meanwhile, names a number that is past, and changes nothing. What the
columns mean is in `store.places`. Source: DESIGN §3.3; decision 0010.
"""

from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import bindparam, update

from engine.book import Place, PlaceCall
from engine.lifecycle import EventType, RunStatus
from store import events, places
from store import runs as run_rows
from store.clock import now
from store.database import Tx
from store.events import NewEvent
from store.places import Execution
from store.runs import RunRow
from store.tables import runs

# Built once: making a statement costs more than carrying it out.
_OWN = update(runs).where(
    runs.c.id == bindparam("run"),
    runs.c.n == bindparam("execution"),
    runs.c.status == RunStatus.RUNNING,
    runs.c.parkings == bindparam("number"),
)
_PARK = (
    _OWN.where(runs.c.admitted.is_(True), runs.c.parked.is_(False))
    .values(admitted=False, parked=True, parkings=runs.c.parkings + 1, updated_at=bindparam("at"))
    .returning(runs.c.org_id)
)
#: Take note of a place that was given.
_NOTE = _OWN.where(runs.c.admitted.is_(True), runs.c.parked.is_(True)).values(
    parked=False, updated_at=bindparam("at")
)
_TAKE = _OWN.where(runs.c.admitted.is_(False)).values(
    admitted=True, parked=False, updated_at=bindparam("at")
)
_WANT = _OWN.where(runs.c.admitted.is_(False), runs.c.parked.is_(True)).values(
    parked=False, updated_at=bindparam("at")
)


@dataclass(frozen=True)
class Settled:
    """How the run stands with its place; `handed` were given one meanwhile and have to be told."""

    place: Place
    handed: list[Execution]


def give_back(tx: Tx, call: PlaceCall, limit: int) -> Settled:
    """Free the place of a run that only waits, and hand it on; repeating it changes nothing."""
    places.lock_of(tx, call.run)
    parked = tx.execute(_PARK, _values(call)).first()
    if parked is None:
        return Settled(_standing(run_rows.by_id(tx, call.run), call), [])
    _tell(tx, call, EventType.RUN_PARKED)
    return Settled(
        Place(state="none", parkings=call.parkings + 1),
        places.hand_on(tx, parked.org_id, limit),
    )


def ask(tx: Tx, call: PlaceCall, limit: int) -> Settled:
    """Take note of a place that was given, or take one if there is room, or wait in the line."""
    places.lock_of(tx, call.run)
    handed: list[Execution] = []
    row = run_rows.by_id(tx, call.run)
    if _standing(row, call).state == "none" and row is not None:
        if row.admitted:
            tx.execute(_NOTE, _values(call))
        elif call.wanted and places.room_for(tx, row, limit):
            tx.execute(_TAKE, _values(call))
            _tell(tx, call, EventType.RUN_ADMITTED)
        elif call.wanted:
            handed = _line_up(tx, row, call, limit)
        row = run_rows.by_id(tx, call.run)
    return Settled(_standing(row, call), handed)


def _line_up(tx: Tx, row: RunRow, call: PlaceCall, limit: int) -> list[Execution]:
    """Wait for a place, while those ahead may have what is free; the others that got one."""
    if tx.execute(_WANT, _values(call)).rowcount:
        _tell(tx, call, EventType.RUN_QUEUED)
    own = Execution(row.id, row.n, row.temporal_id)
    handed = places.hand_on(tx, row.org_id, limit)
    if own in handed:
        tx.execute(_NOTE, _values(call))
        handed.remove(own)
    return handed


def _standing(row: RunRow | None, call: PlaceCall) -> Place:
    if row is None or row.n != call.n or row.status is not RunStatus.RUNNING:
        return Place(state="over")
    if row.admitted and not row.parked:
        return Place(state="held", parkings=row.parkings)
    return Place(state="none" if row.parkings == call.parkings else "stale", parkings=row.parkings)


def _tell(tx: Tx, call: PlaceCall, kind: EventType) -> None:
    told: dict[str, JsonValue] = {"execution": call.n}
    events.append(tx, call.run, [NewEvent(kind, data=told)])


def _values(call: PlaceCall) -> dict[str, str | int]:
    return {"run": call.run, "execution": call.n, "number": call.parkings, "at": now()}
