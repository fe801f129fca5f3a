"""How an execution ends, and what the end of a run brings with it.

Its place is handed on, its unfinished steps are given up, its log says so, and the runs that its
steps wait for are cancelled: those that wait for a place or are paused at once, those that run by
an intent. All of it is one transaction, which holds the lock of the organisation (see
`store.places`).
"""

from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue
from sqlalchemy import and_, bindparam, case, delete, select, update

from engine.book import Wake
from engine.facts import Failure
from engine.lifecycle import TERMINAL, EventType, Intent, RunStatus
from store import events, journal, waits
from store.clock import now
from store.database import Tx
from store.places import LIVE, Execution, hand_on, lock_of
from store.tables import blobs, runs
from store.values import encode

#: The code of a run that was started without anybody to refuse its input; it never runs.
INPUT_INVALID = "input_invalid"

# Built once: making a statement costs more than carrying it out.
_AWAITED = (runs.c.parent_run_id == bindparam("parent"), runs.c.awaited.is_(True))
_OPEN_CHILDREN = select(runs.c.status).where(
    *_AWAITED, runs.c.status.in_([RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED])
)
_END_CHILDREN = (
    update(runs)
    .where(
        *_AWAITED,
        runs.c.status.in_([RunStatus.QUEUED, RunStatus.PAUSED]),
        runs.c.admitted == bindparam("has_place"),
    )
    .values(
        status=RunStatus.CANCELLED,
        intent=None,
        admitted=False,
        parked=False,
        completed_at=bindparam("at"),
        updated_at=bindparam("at"),
    )
    .returning(runs.c.id, runs.c.n, runs.c.temporal_id, runs.c.started_at)
)
_STOP_CHILDREN = (
    update(runs)
    .where(*_AWAITED, runs.c.status == RunStatus.RUNNING)
    .values(intent=Intent.CANCEL, updated_at=bindparam("at"))
    .returning(runs.c.id, runs.c.n, runs.c.temporal_id)
)
_PARENT = select(runs.c.temporal_id).where(
    runs.c.id == bindparam("parent"), runs.c.status == RunStatus.RUNNING
)
#: Whoever was to pause and is to be cancelled by now ends as cancelled.
_OVERTAKEN = and_(bindparam("ended") == RunStatus.PAUSED, runs.c.intent == Intent.CANCEL)
_CLOSE = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.n == bindparam("execution"))
    .values(
        status=case((_OVERTAKEN, RunStatus.CANCELLED), else_=bindparam("ended")),
        intent=None,
        admitted=False,
        parked=False,
        output=bindparam("text"),
        output_blob=bindparam("blob"),
        error=bindparam("why"),
        completed_at=case((_OVERTAKEN, bindparam("at")), else_=bindparam("over")),
        updated_at=bindparam("at"),
    )
    .returning(
        runs.c.org_id,
        runs.c.started_at,
        runs.c.status,
        runs.c.awaited,
        runs.c.parent_run_id,
        runs.c.parent_step_id,
        runs.c.parent_iteration,
    )
)
_CLOSE_PLACED = _CLOSE.where(runs.c.status.in_(LIVE), runs.c.admitted.is_(True))
_CLOSE_UNPLACED = _CLOSE.where(runs.c.status.in_(LIVE), runs.c.admitted.is_(False))


@dataclass(frozen=True)
class Waiting:
    """The execution whose step waits for a run, and which step that is."""

    temporal_id: str
    wake: Wake


@dataclass
class CalledOff:
    """Runs that were cancelled because nobody waits for them any more.

    Attributes:
        executions: those that Temporal has to be told of.
        freed: places that they held and hold no more.
    """

    executions: list[Execution]
    freed: int = 0


@dataclass(frozen=True)
class Ended:
    """What Temporal is to be told of after an execution has ended.

    Attributes:
        handed: executions that got a place.
        called_off: executions that are to stop, because what waits for them is over.
        waiting: whose step waits for the run that has ended.
    """

    handed: list[Execution] = field(default_factory=list)
    called_off: list[Execution] = field(default_factory=list)
    waiting: Waiting | None = None


def close_execution(
    tx: Tx,
    run_id: str,
    n: int,
    status: RunStatus,
    limit: int,
    *,
    output: JsonValue = None,
    error: Failure | None = None,
) -> list[Execution]:
    """`end_execution`, for who has nobody to tell but the executions that got a place."""
    return end_execution(tx, run_id, n, status, limit, output=output, error=error).handed


def end_execution(
    tx: Tx,
    run_id: str,
    n: int,
    status: RunStatus,
    limit: int,
    *,
    output: JsonValue = None,
    error: Failure | None = None,
) -> Ended:
    """End an execution, once: the first to come decides how."""
    at = now()
    kept: dict[str, Any] = {"output": None, "output_blob": None}
    if status is RunStatus.COMPLETED:
        kept = journal.keep(tx, run_id, "The output of the run", output)
    values = {
        "run": run_id,
        "execution": n,
        "ended": status,
        "text": kept["output"],
        "blob": kept["output_blob"],
        "why": encode(error.model_dump(exclude={"retryable", "retry_after"})) if error else None,
        "over": at if status in TERMINAL else None,
        "at": at,
    }
    # With the organisation locked no place is given to it between the two.
    lock_of(tx, run_id)
    closed = tx.execute(_CLOSE_PLACED, values).first()
    freed = closed is not None
    closed = closed or tx.execute(_CLOSE_UNPLACED, values).first()
    if closed is None:
        if kept["output_blob"] is not None:
            tx.execute(delete(blobs).where(blobs.c.id == kept["output_blob"]))
        return Ended()
    ended = RunStatus(closed.status)
    if ended not in TERMINAL:
        paused = events.NewEvent(EventType.RUN_PAUSED, data=_why(error))
        events.append(tx, run_id, [paused])
        return Ended(hand_on(tx, closed.org_id, limit) if freed else [])
    below = follow(tx, run_id, n, ended, closed.started_at, error)
    return Ended(
        hand_on(tx, closed.org_id, limit) if freed or below.freed else [],
        below.executions,
        _waiting(tx, closed.parent_run_id, closed.parent_step_id, closed.parent_iteration)
        if closed.awaited
        else None,
    )


def follow(
    tx: Tx,
    run_id: str,
    n: int,
    status: RunStatus,
    started_at: int | None,
    error: Failure | None = None,
) -> CalledOff:
    """What follows from a terminal status that was just written into the run's row."""
    if status is not RunStatus.COMPLETED:
        journal.give_up(tx, run_id, n)
    waits.forget(tx, run_id)
    seconds = (now() - started_at) // 1_000_000 if started_at else None
    told: dict[str, JsonValue] = {"status": str(status), "duration_seconds": seconds}
    events.append(tx, run_id, [events.NewEvent(EventType.RUN_COMPLETED, data=told | _why(error))])
    return _call_off(tx, run_id)


def _why(error: Failure | None) -> dict[str, JsonValue]:
    """The failure as events tell of it."""
    if error is None:
        return {}
    return {"error": {"code": error.code, "message": error.message, "step_id": error.step}}


def _waiting(
    tx: Tx, parent_id: str | None, step: str | None, iteration: str | None
) -> Waiting | None:
    """Who waits for a run with this parent; None when nobody does just now."""
    if parent_id is None or step is None:
        return None
    temporal_id = tx.execute(_PARENT, {"parent": parent_id}).scalar_one_or_none()
    if temporal_id is None:
        return None
    indices = [int(index) for index in (iteration or "").split(".") if index]
    return Waiting(temporal_id, Wake(step=step, iteration=indices))


def _call_off(tx: Tx, run_id: str) -> CalledOff:
    called_off = CalledOff([])
    if tx.execute(_OPEN_CHILDREN, {"parent": run_id}).first() is None:
        return called_off
    values = {"parent": run_id, "at": now()}
    for has_place in (True, False):
        for row in tx.execute(_END_CHILDREN, values | {"has_place": has_place}).all():
            called_off.executions.append(Execution(row.id, row.n, row.temporal_id))
            called_off.freed += has_place
            below = follow(tx, row.id, row.n, RunStatus.CANCELLED, row.started_at)
            called_off.executions += below.executions
            called_off.freed += below.freed
    stopped = tx.execute(_STOP_CHILDREN, values)
    called_off.executions += [Execution(*row) for row in stopped]
    return called_off
