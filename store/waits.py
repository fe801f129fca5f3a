"""Steps that wait for an event: whoever publishes one finds them, in the transaction that does.

A wait is written first, and then what was published before is looked through, so that an answer
which came early is not lost. On PostgreSQL a lock sees to it that there is nothing in between: who
publishes shares it, and a wait that is written has it alone. So an event either sees the wait, or
was committed before the wait is, and is found by looking back.

What has matched wakes its execution after the commit, see `store.wakes`.
Source: DESIGN §8; `engine.matching` for what matches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pydantic import JsonValue
from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, or_, select, text, update

from engine.call import StepCall
from engine.errors import Conflict, StepError
from engine.lifecycle import RunStatus
from engine.matching import Happening, Pin, Wanted, pins, satisfies
from store import events
from store.clock import now
from store.database import Tx, insert
from store.record_tables import event_waits, published_events
from store.tables import runs
from store.values import decode, decode_object, encode

#: Open waits that one event may have to be compared with for the same reason.
MOST = 1_000
#: Bytes of what a wait takes along.
LARGEST = 64 * 1024
#: Published events that are looked at in one transaction.
PAGE = 100
_PINS = 500
#: Characters of a text that a database is asked to look for.
_LIKE = 1_000

_KEY = ("run_id", "step_id", "iteration")
_OPEN = event_waits.c.event_id.is_(None)
#: States in which a run may still take notice.
_ALIVE = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED)
# Built once: making a statement costs more than carrying it out.
#: The wait of one step.
OWN = and_(
    event_waits.c.run_id == bindparam("run"),
    event_waits.c.step_id == bindparam("step"),
    event_waits.c.iteration == bindparam("place"),
)
_WITH_RUN = select(event_waits, runs.c.event_id.label("begun_by")).join(
    runs, runs.c.id == event_waits.c.run_id
)
_LOOK = _WITH_RUN.where(OWN)
_RUN = select(runs.c.org_id, runs.c.created_at).where(runs.c.id == bindparam("run"))
_EVENT = select(published_events).where(published_events.c.id == bindparam("event"))
_MATCHED = (
    update(event_waits)
    .where(OWN, _OPEN)
    .values(event_id=bindparam("happened"), matched_at=bindparam("at"))
)
_ANY = (
    select(event_waits.c.run_id)
    .where(
        event_waits.c.org_id == bindparam("org"),
        event_waits.c.event.in_(bindparam("names", expanding=True)),
        _OPEN,
    )
    .limit(1)
)
_OPEN_WAITS = _WITH_RUN.where(
    event_waits.c.org_id == bindparam("org"),
    event_waits.c.event == bindparam("name"),
    event_waits.c.pin.in_(bindparam("pins", expanding=True)),
    _OPEN,
    runs.c.status.in_(_ALIVE),
)
_FORGET = delete(event_waits).where(event_waits.c.run_id == bindparam("run"), _OPEN)
_LOCKS = {
    alone: text(f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(:key)")
    for alone in (True, False)
}


@dataclass(frozen=True)
class WaitRow:
    """A wait as it is recorded.

    Attributes:
        since: only events of that time and later count; microseconds UTC.
        event_id: the event that has ended it.
        begun_by: the event that has started the run.
    """

    run_id: str
    step_id: str
    iteration: str
    org_id: str
    generation: int
    event: str
    match: str | None
    scope: dict[str, JsonValue]
    since: int
    event_id: str | None
    begun_by: str | None


@dataclass(frozen=True)
class Cursor:
    """The last event that was looked at."""

    at: int
    id: str


# --- what a step asks for ---------------------------------------------------------------------


def begin(tx: Tx, call: StepCall, wanted: Wanted) -> WaitRow:
    """Write the step's wait, or find it; one that is over in this generation stays so.

    Raises:
        Conflict: the run is over, or another execution carries it out.
        StepError: `match_too_large`, `too_many_waits`; neither can be retried at once.
    """
    run = tx.execute(_RUN, {"run": call.run}).first()
    if run is None:
        raise Conflict("The run was deleted.", code="superseded")
    # Before the run is locked, as publishers do.
    _lock(tx, run.org_id, alone=True)
    events.append(tx, call.run, [], execution=call.n)
    past = find(tx, call)
    if past is not None and past.generation == call.generation and past.event_id is not None:
        return past
    if past is not None and past.generation > call.generation:
        raise Conflict("The step is past this attempt.", code="superseded")
    scope = encode({**wanted.scope})
    if len(scope) > LARGEST:
        raise StepError(
            "match_too_large",
            f"What 'match' of step '{call.step}' mentions besides the event is over {LARGEST:,} "
            "bytes.",
            retryable=False,
        )
    digest = _digest(wanted.pin)
    _refuse_crowds(tx, call, run.org_id, wanted.event, digest)
    columns = {
        "org_id": run.org_id,
        "generation": call.generation,
        "event": wanted.event,
        "match": wanted.match,
        "scope": scope,
        "pin": digest,
        "since": _since(tx, past) or run.created_at,
        "event_id": None,
        "matched_at": None,
        "woken_at": None,
    }
    key = {"run_id": call.run, "step_id": call.step, "iteration": call.place}
    tx.execute(
        insert(tx, event_waits)
        .values(**key, **columns)
        .on_conflict_do_update(index_elements=_KEY, set_=columns)
    )
    written = find(tx, call)
    assert written is not None
    return written


def _since(tx: Tx, past: WaitRow | None) -> int | None:
    """The time from which events count for a wait that is done again; None the first time.

    An event satisfies a wait once: what comes after it counts for the next generation.
    """
    if past is None or past.event_id is None:
        return None if past is None else past.since
    before = tx.execute(_EVENT, {"event": past.event_id}).first()
    return now() if before is None else before.created_at + 1


def _refuse_crowds(tx: Tx, call: StepCall, org_id: str, event: str, digest: str) -> None:
    """Each of them is looked at whenever such an event is published."""
    same = (
        select(event_waits.c.run_id)
        .where(
            event_waits.c.org_id == org_id,
            event_waits.c.event == event,
            event_waits.c.pin == digest,
            _OPEN,
            or_(event_waits.c.run_id != call.run, event_waits.c.step_id != call.step)
            | (event_waits.c.iteration != call.place),
        )
        .limit(MOST)
        .subquery()
    )
    if tx.execute(select(func.count()).select_from(same)).scalar_one() >= MOST:
        raise StepError(
            "too_many_waits",
            f"{MOST:,} steps wait for '{event}' that nothing tells apart; compare a text in "
            "event.data with '==' in 'match'.",
        )


def find(tx: Tx, call: StepCall) -> WaitRow | None:
    """The step's wait, of whatever generation; None when there is none."""
    row = tx.execute(_LOOK, _of(call)).first()
    return None if row is None else _wait(row)


def matched(tx: Tx, call: StepCall) -> Happening | None:
    """The event that has ended the step's wait; None while there is none.

    Raises:
        StepError: `event_purged`, not retryable: it was, and is not there any more.
    """
    row = find(tx, call)
    if row is None or row.generation != call.generation or row.event_id is None:
        return None
    event = tx.execute(_EVENT, {"event": row.event_id}).first()
    if event is None:
        raise StepError(
            "event_purged", f"The event of step '{call.step}' was purged.", retryable=False
        )
    return happening(event)


def look_back(
    tx: Tx, wait: WaitRow, pin: Pin | None, after: Cursor | None
) -> tuple[str | None, Cursor | None]:
    """Look through events of the past, a page at a time, for one that the wait is over with.

    Args:
        tx: The transaction.
        wait: What `begin` has answered.
        pin: What the event has to have, so that few have to be looked at.
        after: What the last page has answered; None for the first.

    Returns:
        The id of the event that was found, and from where to go on; None and None at the end.
    """
    happened = published_events.c
    beyond = [happened.created_at >= wait.since, *_having(pin)]
    if after is not None:
        beyond.append(
            or_(
                happened.created_at > after.at,
                and_(happened.created_at == after.at, happened.id > after.id),
            )
        )
    rows = tx.execute(
        select(published_events)
        .where(happened.org_id == wait.org_id, happened.name == wait.event, *beyond)
        .order_by(happened.created_at, happened.id)
        .limit(PAGE)
    ).all()
    for row in rows:
        if _ends(happening(row), row.id, wait):
            return row.id, None
    return None, Cursor(rows[-1].created_at, rows[-1].id) if len(rows) == PAGE else None


def _having(pin: Pin | None) -> Iterator[ColumnElement[bool]]:
    """What the rows of events with a pin have in common, and few others."""
    if pin is not None and pin.path[0] == "entity":
        yield published_events.c.entity_id == pin.text
    elif pin is not None and len(pin.text) <= _LIKE and _is_plain(pin.text):
        # As it is written in the JSON of the data; other characters may be written in two ways.
        yield published_events.c.data.contains(encode(pin.text), autoescape=True)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def settle(tx: Tx, call: StepCall, event_id: str) -> None:
    """End the step's wait with this event, unless another one has ended it already.

    The step that asks sees it by itself.
    """
    tx.execute(_MATCHED, _of(call) | {"happened": event_id, "at": now()})
    tx.execute(update(event_waits).where(OWN).values(woken_at=now()), _of(call))


def give_up(tx: Tx, call: StepCall) -> Happening | None:
    """End the wait without an event, unless one has come; that one is answered."""
    tx.execute(delete(event_waits).where(OWN, _OPEN), _of(call))
    return matched(tx, call)


def forget(tx: Tx, run_id: str) -> None:
    """Let go of what a run that is over still waited for."""
    tx.execute(_FORGET, {"run": run_id})


# --- what a publisher does ---------------------------------------------------------------------


def match(tx: Tx, org_id: str, happened: Mapping[str, Happening]) -> int:
    """End every wait that one of these events satisfies, with their commit; how many.

    To be called where the events are written, before a run is locked. Who is to be told is in
    `store.wakes`.

    Args:
        tx: The transaction.
        org_id: The organisation.
        happened: The events by id.
    """
    _lock(tx, org_id, alone=False)
    names = sorted({event.name for event in happened.values()})
    if tx.execute(_ANY, {"org": org_id, "names": names}).first() is None:
        return 0
    over: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name in names:
        those = {id: event for id, event in happened.items() if event.name == name}
        digests = dict.fromkeys(_digest(pin) for event in those.values() for pin in pins(event))
        for wait in _open_waits(tx, org_id, name, ["", *digests]):
            event_id = next((id for id, event in those.items() if _ends(event, id, wait)), None)
            if event_id is not None:
                key = (wait.run_id, wait.step_id, wait.iteration)
                over[key] = _of_wait(wait) | {"happened": event_id, "at": now()}
    if over:
        # In one order everywhere, or two publishers could wait for each other.
        tx.execute(_MATCHED, [over[key] for key in sorted(over)])
    return len(over)


def _open_waits(tx: Tx, org_id: str, name: str, digests: Sequence[str]) -> Iterator[WaitRow]:
    for start in range(0, len(digests), _PINS):
        found = {"org": org_id, "name": name, "pins": digests[start : start + _PINS]}
        yield from map(_wait, tx.execute(_OPEN_WAITS, found).all())


def _ends(happened: Happening, event_id: str, wait: WaitRow) -> bool:
    # What has started the run is not what it waits for.
    return event_id != wait.begun_by and satisfies(happened, wait.match, wait.scope)


def happening(row: Row[Any]) -> Happening:
    """A published event, as expressions see it."""
    entity: dict[str, JsonValue] | None = None
    if row.entity_id is not None:
        fields = None if row.entity_fields is None else decode(row.entity_fields)
        entity = {"id": row.entity_id, "type": row.entity_type, "fields": fields}
    return Happening(f"cbevt_{row.id}", row.name, decode(row.data), entity)


def _lock(tx: Tx, org_id: str, *, alone: bool) -> None:
    """Keep publishing and beginning to wait apart; SQLite has one writer at a time anyway."""
    if tx.dialect.name != "sqlite":
        key = int.from_bytes(sha256(f"events/{org_id}".encode()).digest()[:8], signed=True)
        tx.execute(_LOCKS[alone], {"key": key})


def _digest(pin: Pin | None) -> str:
    if pin is None:
        return ""
    return sha256(encode([*pin.path, pin.text]).encode(errors="surrogatepass")).hexdigest()[:32]


def _of(call: StepCall) -> dict[str, Any]:
    return {"run": call.run, "step": call.step, "place": call.place}


def _of_wait(wait: WaitRow) -> dict[str, Any]:
    return {"run": wait.run_id, "step": wait.step_id, "place": wait.iteration}


def _wait(row: Row[Any]) -> WaitRow:
    return WaitRow(
        run_id=row.run_id,
        step_id=row.step_id,
        iteration=row.iteration,
        org_id=row.org_id,
        generation=row.generation,
        event=row.event,
        match=row.match,
        scope=decode_object(row.scope),
        since=row.since,
        event_id=row.event_id,
        begun_by=row.begun_by,
    )
