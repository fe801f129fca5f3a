"""Writing the rows of steps: each step's journal.

Every write carries the number of the execution and loses to a higher one; within one generation of
a step what is completed or skipped is never overwritten. Source: DESIGN §3.5.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Executable, and_, or_, update
from sqlalchemy.dialects import postgresql, sqlite

from engine.book import Entry
from engine.call import StepCall
from engine.errors import Conflict, Invalid, StepError
from engine.facts import Failure
from engine.lifecycle import STEP_SETTLED, EventType, StepStatus
from engine.outcomes import Answer, Await, Branch, Done, Each, Outcome, Skip, Sleep
from engine.usage import Usage
from store import blobs, events, steps
from store.clock import SECOND, now
from store.database import Tx
from store.tables import step_runs
from store.values import decode, encode

_KEY = ("run_id", "step_id", "iteration")
#: What a write sets that says nothing else; otherwise an older generation would shine through.
_BLANK: Mapping[str, Any] = {
    "answer": None,
    "output": None,
    "output_blob": None,
    "output_size": 0,
    "artifacts": None,
    "wake_at": None,
    "completed_at": None,
}


@dataclass(frozen=True)
class Attempted:
    """Who carried an attempt out, and since when.

    Attributes:
        started_at: microseconds since 1970.
        begun: `begin` has told of the attempt already.
        usage: what all attempts have asked of models; None leaves what the row says.
    """

    worker: str
    started_at: int
    begun: bool
    usage: Usage | None = None


def begin(tx: Tx, call: StepCall, worker: str, started_at: int) -> None:
    """Record that an attempt began.

    Raises:
        Conflict: the run or the step is past it.
    """
    columns = {
        "status": StepStatus.RUNNING,
        "worker": worker,
        "error": None,
        "started_at": started_at,
    }
    _write(tx, call, columns, [_started(call, started_at)])


def finish(tx: Tx, call: StepCall, outcome: Outcome, attempted: Attempted | None = None) -> None:
    """Record what the step answered.

    Raises:
        Conflict: the run or the step is past it.
        StepError: `output_too_large`.
    """
    columns, event = _outcome_columns(tx, call, outcome)
    told = [] if isinstance(outcome, Skip) else _told(call, attempted)
    if event is not None:
        told.append(event)
    _write(tx, call, {"error": None} | _who(attempted) | columns, told)


def fail(tx: Tx, call: StepCall, failure: Failure, attempted: Attempted | None = None) -> None:
    """Record that an attempt failed; it may be the last one or not.

    Raises:
        Conflict: the run or the step is past it.
    """
    final = call.final or not failure.retryable
    error: dict[str, JsonValue] = {"code": failure.code, "message": failure.message}
    columns = {
        "status": StepStatus.FAILED if final else StepStatus.WAITING,
        "error": encode(error),
        "completed_at": now() if final else None,
    }
    data: dict[str, JsonValue] = {
        "error": error,
        "attempt": call.attempt,
        "will_retry": not final,
    }
    failed = events.NewEvent(EventType.STEP_FAILED, call.step, call.place, data)
    _write(tx, call, columns | _who(attempted), [*_told(call, attempted), failed])


def _who(attempted: Attempted | None) -> dict[str, Any]:
    if attempted is None:
        return {}
    told: dict[str, Any] = {"worker": attempted.worker, "started_at": attempted.started_at}
    if attempted.usage is not None:
        told["usage"] = encode(asdict(attempted.usage))
    return told


def _told(call: StepCall, attempted: Attempted | None) -> list[events.NewEvent]:
    """The event that the attempt began, where nothing has told of it yet."""
    if attempted is None or attempted.begun:
        return []
    return [_started(call, attempted.started_at)]


def _started(call: StepCall, at: int) -> events.NewEvent:
    told: dict[str, JsonValue] = {"attempt": call.attempt}
    return events.NewEvent(EventType.STEP_STARTED, call.step, call.place, told, at)


def _write(tx: Tx, call: StepCall, columns: Mapping[str, Any], told: list[events.NewEvent]) -> None:
    """Write the step's row and its events, unless the run or the step is past this call."""
    events.append(tx, call.run, told, execution=call.n)
    if not _upsert(tx, call, columns):
        raise Conflict("The step is past this attempt.", code="superseded")


def _upsert(tx: Tx, call: StepCall, columns: Mapping[str, Any]) -> bool:
    row = {
        "run_id": call.run,
        "step_id": call.step,
        "iteration": call.place,
        "n": call.n,
        "generation": call.generation,
        "attempt": call.attempt,
        "updated_at": now(),
        **_BLANK,
        **columns,
    }
    return tx.execute(_upserting(tx.dialect.name, tuple(row)), row).first() is not None


@cache
def _upserting(dialect: str, columns: tuple[str, ...]) -> Executable:
    """The statement that writes these columns; making it costs more than carrying it out."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = insert(step_runs)
    old, new = step_runs.c, statement.excluded
    # What is completed or skipped stays so within its generation.
    settled = [str(status) for status in STEP_SETTLED]
    return statement.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: new[name] for name in columns if name not in _KEY},
        where=and_(
            old.n <= new.n,
            or_(
                old.generation < new.generation,
                and_(old.generation == new.generation, old.status.not_in(settled)),
            ),
        ),
    ).returning(step_runs.c.run_id)


def _outcome_columns(
    tx: Tx, call: StepCall, outcome: Outcome
) -> tuple[dict[str, Any], events.NewEvent | None]:
    """The columns that an outcome sets, and the event that tells of it."""
    at = now()
    answer = Answer(outcome).model_dump_json()
    match outcome:
        case Done(output=value) | Branch(output=value):
            kept = keep(tx, call.run, f"The output of step '{call.step}'", value)
            columns = {"status": StepStatus.COMPLETED, "answer": answer, "completed_at": at, **kept}
            if isinstance(outcome, Done) and outcome.artifacts:
                columns["artifacts"] = encode([one.model_dump() for one in outcome.artifacts])
            return columns, completed_event(call.step, call.place, kept)
        case Skip(reason=reason):
            told: dict[str, JsonValue] = {"reason": reason}
            columns = {
                "status": StepStatus.SKIPPED,
                "answer": answer,
                "completed_at": at,
                "error": encode(told),
            }
            return columns, events.NewEvent(EventType.STEP_SKIPPED, call.step, call.place, told)
        case Each(items=listed, count=count):
            text, blob, _ = _packed(
                tx, call.run, f"The list of items of step '{call.step}'", listed
            )
            return {
                "status": StepStatus.WAITING,
                "answer": answer,
                "items": text,
                "items_blob": blob,
                "item_count": count,
            }, None if count == 0 else events.NewEvent(
                EventType.STEP_WAITING, call.step, call.place, {"items": count}
            )
        case Sleep(wake_at=wake_at) | Await(until=wake_at):
            micros = None if wake_at is None else int(wake_at * 1_000_000)
            waits = {"status": StepStatus.WAITING, "answer": answer, "wake_at": micros}
            told = {} if micros is None else {"until": micros}
            if isinstance(outcome, Await) and outcome.child is not None:
                told["child_run_id"] = f"run_{outcome.child}"
            return waits, events.NewEvent(EventType.STEP_WAITING, call.step, call.place, told)


def keep(tx: Tx, run_id: str, what: str, value: JsonValue) -> dict[str, Any]:
    """The columns that hold an output, in the row or in a blob.

    Args:
        tx: The transaction.
        run_id: The run that the value lives with.
        what: Names the value at the beginning of a sentence.
        value: The output.

    Raises:
        StepError: `output_too_large`, or `output_invalid` for what is no JSON; not retryable.
    """
    text, blob, size = _packed(tx, run_id, what, value)
    return {"output": text, "output_blob": blob, "output_size": size}


def _packed(tx: Tx, run_id: str, what: str, value: JsonValue) -> tuple[str | None, str | None, int]:
    """The value's text where a row can hold it, else the blob that does; and its size in bytes."""
    try:
        text = encode(value)
    except Invalid as error:
        raise StepError("output_invalid", f"{what}: {error.message}", retryable=False) from error
    content = None if text.isascii() else text.encode()
    size = len(text if content is None else content)
    if size > blobs.MAX:
        raise StepError(
            "output_too_large",
            f"{what} is {size:,} bytes; the limit is {blobs.MAX:,}. "
            "Store it elsewhere and pass a reference on.",
            retryable=False,
        )
    if size <= blobs.INLINE:
        return text, None, size
    return None, blobs.put(tx, run_id, content or text.encode()), size


def completed_event(step: str, iteration: str, kept: Mapping[str, Any]) -> events.NewEvent:
    """`step_completed`, with the output when it is small enough for a row."""
    data: dict[str, JsonValue] = {"output_size": kept["output_size"]}
    if kept["output"] is not None:
        data["output"] = decode(kept["output"])
    return events.NewEvent(EventType.STEP_COMPLETED, step, iteration, data)


def mark(tx: Tx, run_id: str, n: int, entries: Iterable[Entry]) -> None:
    """Record skips, wake-ups and waits that were given up; repeating it changes nothing.

    Raises:
        Conflict: the run is over, or another execution carries it out.
    """
    events.append(tx, run_id, [], execution=n)
    for entry in entries:
        call = StepCall(
            run=run_id,
            n=n,
            step=entry.step,
            iteration=entry.iteration,
            generation=entry.generation,
            attempt=entry.attempt,
        )
        past = steps.some(tx, run_id, {call.step: call.place}).get(call.step)
        told = past and (past.n, past.generation, past.status) == (n, call.generation, entry.status)
        if told:
            continue
        columns, event = _mark_columns(tx, call, entry, past)
        if _upsert(tx, call, columns):
            events.append(tx, run_id, [event])


def _mark_columns(
    tx: Tx, call: StepCall, entry: Entry, past: steps.StepRow | None
) -> tuple[dict[str, Any], events.NewEvent]:
    at = now()
    columns: dict[str, Any] = {"status": entry.status, "completed_at": at, "wake_at": None}
    if entry.status is StepStatus.COMPLETED:
        # It was woken by Temporal's clock, which may be ahead of this one.
        at = max(at, past.wake_at or 0) if past else at
        columns["completed_at"] = at
        began = past.started_at if past and past.started_at else at
        # Rounded: what began a moment after the timer was asked for has still waited that long.
        waited = max(0, at - began + SECOND // 2) // SECOND
        kept = keep(tx, call.run, call.step, {"waited_seconds": waited})
        columns |= {"answer": Answer(Done()).model_dump_json(), **kept}
        return columns, completed_event(call.step, call.place, kept)
    told: dict[str, JsonValue] = {"reason": entry.reason}
    if entry.status is StepStatus.FAILED:
        told |= {"attempt": entry.attempt, "will_retry": False}
        if entry.failure is not None:
            told["error"] = {"code": entry.failure.code, "message": entry.failure.message}
            columns |= {"answer": None, "error": encode(told["error"])}
        # Else it was waiting for its next attempt, and the row knows of the last one's failure.
        return columns, events.NewEvent(EventType.STEP_FAILED, call.step, call.place, told)
    columns |= {"error": encode(told)}
    if entry.status is StepStatus.SKIPPED:
        columns |= {"answer": Answer(Skip(unmet=True)).model_dump_json()}
        return columns, events.NewEvent(EventType.STEP_SKIPPED, call.step, call.place, told)
    return columns, events.NewEvent(EventType.STEP_CANCELLED, call.step, call.place, told)


def give_up(tx: Tx, run_id: str, n: int) -> None:
    """Mark as cancelled what an execution that ends leaves unfinished."""
    unfinished = [StepStatus.RUNNING, StepStatus.WAITING]
    rows = tx.execute(
        update(step_runs)
        .where(step_runs.c.run_id == run_id, step_runs.c.n <= n, step_runs.c.status.in_(unfinished))
        .values(
            status=StepStatus.CANCELLED,
            # What it answered was a wait; a resumed run has to ask it again.
            answer=None,
            wake_at=None,
            completed_at=now(),
            updated_at=now(),
        )
        .returning(step_runs.c.step_id, step_runs.c.iteration)
    ).all()
    events.append(
        tx,
        run_id,
        [events.NewEvent(EventType.STEP_CANCELLED, row.step_id, row.iteration) for row in rows],
    )


def reset(tx: Tx, run_id: str, n: int, generations: Mapping[str, int]) -> None:
    """Make steps of the outermost scope pending again for execution `n`."""
    for step_id, generation in generations.items():
        tx.execute(
            update(step_runs)
            .where(
                step_runs.c.run_id == run_id,
                step_runs.c.step_id == step_id,
                step_runs.c.iteration == "",
            )
            .values(
                n=n,
                generation=generation,
                status=StepStatus.PENDING,
                answer=None,
                output=None,
                output_blob=None,
                output_size=0,
                artifacts=None,
                error=None,
                wake_at=None,
                started_at=None,
                completed_at=None,
                updated_at=now(),
            )
        )
