"""Every attempt of a step, told from the event log: a row only knows of the latest one."""

from dataclasses import dataclass, replace

from pydantic import JsonValue
from sqlalchemy import and_, func, or_, select

from engine.lifecycle import EventType, StepStatus
from store import steps
from store.database import Tx
from store.events import EventRow, event_of
from store.steps import StepRow
from store.tables import run_events


@dataclass(frozen=True)
class Attempt:
    """One attempt. Times are microseconds UTC.

    Attributes:
        attempt: counts the failures that the step itself reported, from 1; it begins anew with each
            execution of the run.
        execution: of the run, from 1.
        status: None when the attempt was lost with its worker and made again.
        generation: None for executions before the step's latest.
        worker: known of the latest attempt only.
        will_retry: it failed, and another attempt follows.
    """

    attempt: int
    execution: int
    status: StepStatus | None
    started_at: int
    ended_at: int | None = None
    error: dict[str, JsonValue] | None = None
    will_retry: bool = False
    generation: int | None = None
    worker: str | None = None


def attempts(tx: Tx, run_id: str, step_id: str, iteration: str) -> list[Attempt]:
    """All attempts of a step in one iteration, oldest first."""
    found: list[Attempt] = []
    execution = 1
    for event in _log(tx, run_id, step_id, iteration):
        if event.type is EventType.RUN_STARTED:
            execution = _number(event, "execution", execution)
        else:
            _take(found, event, execution)
    row = steps.some(tx, run_id, {step_id: iteration}).get(step_id)
    return found if row is None else [_completed(found, index, row) for index in range(len(found))]


def _log(tx: Tx, run_id: str, step_id: str, iteration: str) -> list[EventRow]:
    """What the run's log says of the step, and where executions begin."""
    table = run_events.c
    of_step = and_(table.step_id == step_id, func.coalesce(table.iteration, "") == iteration)
    rows = tx.execute(
        select(run_events)
        .where(table.run_id == run_id, or_(table.type == EventType.RUN_STARTED, of_step))
        .order_by(table.seq)
    )
    return [event_of(row) for row in rows]


def _take(found: list[Attempt], event: EventRow, execution: int) -> None:
    """Take in one event of the step."""
    is_open = bool(found) and found[-1].ended_at is None
    if event.type is EventType.STEP_STARTED:
        if is_open:
            # Nobody told how it ended: it was lost, and this is the same attempt made again.
            found[-1] = replace(found[-1], status=None, ended_at=event.at)
        number = _number(event, "attempt", 1)
        found.append(Attempt(number, execution, StepStatus.RUNNING, event.at))
        return
    if event.type is EventType.STEP_FAILED and not is_open:
        # It waited for its next attempt, or was lost before anybody told of it.
        error = event.data.get("error")
        if isinstance(error, dict):
            number = _number(event, "attempt", 1)
            ended = Attempt(number, execution, StepStatus.FAILED, event.at, event.at, error)
            found.append(ended)
        return
    if not is_open:
        return
    if event.type is EventType.STEP_WAITING:
        found[-1] = replace(found[-1], status=StepStatus.WAITING)
        return
    error = event.data.get("error")
    found[-1] = replace(
        found[-1],
        status=_ENDS.get(event.type, StepStatus.CANCELLED),
        ended_at=event.at,
        error=error if isinstance(error, dict) else None,
        will_retry=event.data.get("will_retry") is True,
    )


_ENDS = {
    EventType.STEP_COMPLETED: StepStatus.COMPLETED,
    EventType.STEP_FAILED: StepStatus.FAILED,
    EventType.STEP_SKIPPED: StepStatus.SKIPPED,
}


def _number(event: EventRow, key: str, otherwise: int) -> int:
    value = event.data.get(key)
    return value if isinstance(value, int) else otherwise


def _completed(found: list[Attempt], index: int, row: StepRow) -> Attempt:
    """The attempt with what the step's row knows of it."""
    attempt = found[index]
    if attempt.execution != row.n:
        return attempt
    latest = index == len(found) - 1 and attempt.attempt == row.attempt
    return replace(attempt, generation=row.generation, worker=row.worker if latest else None)
