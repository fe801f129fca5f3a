"""A job's log, made of events."""

from typing import Any

import pytest

from app.surfaces.entity_batches.jobs.logs import lines
from engine.lifecycle import EventType
from store.events import EventRow

ONE_LINE = [kind for kind in EventType if kind is not EventType.BATCH_PROGRESS]


def event(kind: EventType, step_id: str | None = None, **data: Any) -> EventRow:
    return EventRow("r", 7, kind, step_id, "", data, 1_767_225_600_123_456)


def progress(failed_here: int, named: int, noted: int = 0) -> EventRow:
    failures: list[Any] = [
        {"entity_id": f"{n:032x}", "step_id": "a", "code": "x", "message": f"Why {n}."}
        for n in range(named)
    ]
    counters = {"total": 2_000, "completed": 1_100, "failed": failed_here}
    told = {
        "failed_here": failed_here,
        "failures": failures,
        "noted_here": noted,
        "notes": failures[:1] if noted else [],
    }
    return event(EventType.BATCH_PROGRESS, **counters, **told)


@pytest.mark.parametrize(
    "kind", [kind for kind in EventType if kind is not EventType.BATCH_PROGRESS]
)
def test_every_event_is_a_line(kind: EventType) -> None:
    told = event(kind, "a" if kind.startswith("step_") else None, status="completed")
    (line,) = lines([told])
    assert line["sequence"] == 7
    assert line["timestamp"] == 1_767_225_600_123
    assert line["message"].endswith(".")
    assert "{" not in line["message"]
    assert ("'a'" in line["message"]) is kind.startswith("step_") is ("stepId" in line)


@pytest.mark.parametrize(
    ("told", "level", "message"),
    [
        (
            event(EventType.STEP_FAILED, "a", will_retry=True, error={"message": "No."}, attempt=1),
            "warn",
            "Step 'a' has failed and is tried again. No.",
        ),
        (
            event(EventType.STEP_FAILED, "a", will_retry=False, error={"message": "No {x}."}),
            "error",
            "Step 'a' has failed. No {x}.",
        ),
        (event(EventType.STEP_SKIPPED, "a", reason="Low."), "info", "Step 'a' was skipped. Low."),
        (
            event(EventType.RUN_COMPLETED, status="failed", error={"code": "x", "message": "No."}),
            "error",
            "The job has failed. No.",
        ),
        (event(EventType.RUN_COMPLETED, status="cancelled"), "warn", "The job was cancelled."),
    ],
)
def test_a_line_says_why(told: EventRow, level: str, message: str) -> None:
    (line,) = lines([told])
    assert (line["level"], line["message"]) == (level, message)


def test_a_window_names_those_that_failed_and_counts_the_others() -> None:
    assert [line["message"] for line in lines([progress(3, 2)])] == [
        "1,103 of 2,000 entities are through, 3 have failed.",
        "Why 0.",
        "Why 1.",
        "And 1 more has failed.",
    ]
    assert [line["message"] for line in lines([progress(1, 1, noted=3)])][2:] == [
        "The entity went on after a failure. Why 0.",
        "And 2 more went on after a failure.",
    ]
    assert len(lines([progress(2, 2)])) == 3
    assert len(lines([progress(0, 0)])) == 1
