"""A job's log: the events of its run, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.surfaces.entity_batches.jobs.schemas import Level, LogOut
from app.surfaces.entity_batches.wire import millis
from engine.lifecycle import EventType
from store.events import EventRow

_SENTENCES: Mapping[EventType | tuple[EventType, object], tuple[Level, str]] = {
    EventType.RUN_QUEUED: ("info", "The job waits for its turn."),
    EventType.RUN_ADMITTED: ("info", "It is the job's turn."),
    EventType.RUN_STARTED: ("info", "The job has begun."),
    EventType.RUN_PARKED: ("info", "The job only waits, and it is the turn of others meanwhile."),
    EventType.RUN_PAUSED: ("warn", "The job is paused."),
    EventType.RUN_RESUMED: ("info", "The job was resumed."),
    (EventType.RUN_COMPLETED, "completed"): ("info", "The job has completed."),
    (EventType.RUN_COMPLETED, "failed"): ("error", "The job has failed."),
    (EventType.RUN_COMPLETED, "cancelled"): ("warn", "The job was cancelled."),
    EventType.STEP_STARTED: ("info", "{step} has begun, attempt {attempt}."),
    EventType.STEP_COMPLETED: ("info", "{step} has completed."),
    (EventType.STEP_FAILED, "will_retry"): ("warn", "{step} has failed and is tried again."),
    EventType.STEP_FAILED: ("error", "{step} has failed."),
    EventType.STEP_SKIPPED: ("info", "{step} was skipped."),
    EventType.STEP_WAITING: ("info", "{step} waits."),
    EventType.STEP_CANCELLED: ("info", "{step} was cancelled."),
}


def lines(events: Sequence[EventRow]) -> list[LogOut]:
    """One line for each event, and for each failed entity that an event names one more."""
    return [line for event in events for line in _lines(event)]


def _lines(event: EventRow) -> Iterator[LogOut]:
    if event.type is EventType.BATCH_PROGRESS:
        yield from _progress(event)
        return
    level, message = _told(event)
    line = _line(event, level, message)
    if event.step_id is not None:
        line["stepId"] = event.step_id
    yield line


def _line(event: EventRow, level: Level, message: str) -> LogOut:
    return LogOut(sequence=event.seq, timestamp=millis(event.at), level=level, message=message)


def _progress(event: EventRow) -> Iterator[LogOut]:
    data: dict[str, Any] = event.data
    done = data["completed"] + data["failed"]
    failed = data["failed"]
    text = f"{done:,} of {data['total']:,} entities are through, {failed:,} {_have(failed)} failed."
    yield _line(event, "info", text)
    failures = data["failures"]
    for failure in failures:
        message = failure.get("message") or "The entity has failed."
        line = _line(event, "warn", message)
        line["entityId"] = failure["entity_id"]
        if failure.get("step_id"):
            line["stepId"] = failure["step_id"]
        yield line
    if (more := data["failed_here"] - len(failures)) > 0:
        yield _line(event, "warn", f"And {more:,} more {_have(more)} failed.")
    notes = data["notes"]
    for note in notes:
        line = _line(event, "warn", f"The entity went on after a failure. {note['message']}")
        line["entityId"], line["stepId"] = note["entity_id"], note["step_id"]
        yield line
    named = len({note["entity_id"] for note in notes})
    if (more := data["noted_here"] - named) > 0:
        yield _line(event, "warn", f"And {more:,} more went on after a failure.")


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _told(event: EventRow) -> tuple[Level, str]:
    """The level of an event, and a sentence."""
    data: dict[str, Any] = event.data
    kind: EventType | tuple[EventType, object] = event.type
    if event.type is EventType.RUN_COMPLETED:
        kind = (event.type, data.get("status"))
    elif event.type is EventType.STEP_FAILED and data.get("will_retry"):
        kind = (event.type, "will_retry")
    level, text = _SENTENCES[kind]
    where = f" in iteration {event.iteration}" if event.iteration else ""
    step = f"Step '{event.step_id}'{where}"
    return level, text.format(step=step, attempt=data.get("attempt", 1)) + _why(data)


def _why(data: dict[str, Any]) -> str:
    """The reason that an event gives, behind a blank; empty where it gives none."""
    error = data.get("error")
    text = error.get("message") if isinstance(error, dict) else data.get("reason")
    return f" {text}" if text else ""
