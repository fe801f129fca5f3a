"""Turns the rows of runs, steps and events into what is answered."""

from typing import Any

from app.envelope import to_json
from app.services.runs import RunView, StepView
from app.surfaces.full_engine.runs.schemas import (
    RUN_STATES,
    STEP_STATES,
    RunErrorOut,
    RunFullOut,
    RunOut,
    StepRunOut,
    StepState,
    VerbOut,
)
from app.surfaces.full_engine.wire import iso, maybe_iso, seconds_between, spelled
from engine.lifecycle import EventType, RunStatus, StepStatus
from store.blobs import INLINE
from store.events import EventRow
from store.runs import RunRow

#: Bytes of outputs and of errors on one run page; what is over is read by its own address.
_OUTPUTS = 512 * 1024
_ERRORS = 128 * 1024
#: Steps that have not begun when their run is over; contracts C-q7.
_UNBEGUN: dict[RunStatus, StepState] = {
    RunStatus.CANCELLED: "cancelled",
    RunStatus.FAILED: "skipped",
}
#: Characters of an error that has no place on the page any more.
_CUT = 120


class _Room:
    """How much may still be put on a page."""

    def __init__(self, size: int) -> None:
        self._left = size

    def takes(self, size: int) -> bool:
        """Whether there is room for so many bytes; they are taken then."""
        if size > self._left:
            return False
        self._left -= size
        return True


def run_out(row: RunRow) -> RunOut:
    """A run, as in lists."""
    return RunOut(
        id=spelled("run_", row.id),
        workflow_id=spelled("wf_", row.workflow_id),
        workflow_name=row.workflow_name,
        version=row.version,
        status=RUN_STATES[row.status],
        intent=row.intent.value if row.intent else None,
        trigger=row.trigger,
        schedule_id=spelled("sched_", row.schedule_id) if row.schedule_id else None,
        scheduled_at=maybe_iso(row.scheduled_at),
        created_at=iso(row.created_at),
        started_at=maybe_iso(row.started_at),
        completed_at=maybe_iso(row.completed_at),
        duration_seconds=seconds_between(row.started_at, row.completed_at),
        error=_error(row.error, _Room(_ERRORS)),
    )


def run_full_out(view: RunView) -> RunFullOut:
    """The run page: under a megabyte, whatever the steps have put out."""
    row, room, words = view.row, _Room(_OUTPUTS), _Room(_ERRORS)
    run = spelled("run_", row.id)
    size = len(to_json(row.output))
    shown = row.output_blob is None and size <= INLINE and room.takes(size)
    return RunFullOut(
        **run_out(row),
        output=row.output if shown else None,
        output_url=None if shown else f"/api/workflows/runs/{run}/output",
        step_runs=[_step_out(step, row, room, words) for step in view.steps],
    )


def _output_url(run: str, step_id: str, iteration: str) -> str:
    query = f"?iteration={iteration}" if iteration else ""
    return f"/api/workflows/runs/{run}/steps/{step_id}/output{query}"


def _unbegun_out(step_id: str, run: RunRow) -> StepRunOut:
    """A step that has not begun; once its run is over it will not, unless the run is resumed."""
    status = _UNBEGUN.get(run.status, "pending")
    over = RunErrorOut(reason=f"The run was over ({run.status}).")
    return StepRunOut(
        step_id=step_id,
        status=status,
        attempt=0,
        output=None,
        output_size=0,
        output_url=None,
        error=None if status == "pending" else over,
        started_at=None,
        completed_at=None,
        duration_seconds=None,
    )


def _step_out(step: StepView, run: RunRow, room: _Room, words: _Room) -> StepRunOut:
    row = step.row
    if row is None or row.status is StepStatus.PENDING:
        return _unbegun_out(step.step_id, run)
    shown = row.output_inline and room.takes(row.output_size)
    page = StepRunOut(
        step_id=step.step_id,
        status=STEP_STATES[row.status],
        attempt=row.attempt,
        output=row.output if shown else None,
        output_size=row.output_size,
        output_url=None if shown else _output_url(spelled("run_", run.id), step.step_id, ""),
        error=_error(row.error, words),
        started_at=maybe_iso(row.started_at),
        completed_at=maybe_iso(row.completed_at),
        duration_seconds=seconds_between(row.started_at, row.completed_at),
    )
    if row.status is StepStatus.WAITING and row.wake_at is not None:
        page["waiting_until"] = iso(row.wake_at)
    if step.items is not None:
        page["iterations"] = _iterations(step.items)
    return page


def _iterations(items: dict[str, int]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for status, count in items.items():
        state = STEP_STATES[StepStatus(status)]
        counted[state] = counted.get(state, 0) + count
    return counted


def _error(error: dict[str, Any] | None, room: _Room) -> RunErrorOut | None:
    if error is None:
        return None
    shaped = RunErrorOut()
    if "reason" in error:
        shaped["reason"] = str(error["reason"])
    if "code" in error:
        text = str(error.get("message", ""))
        shaped["code"] = str(error["code"])
        shaped["message"] = text if room.takes(len(text.encode())) else text[:_CUT]
    if error.get("step"):
        shaped["step_id"] = str(error["step"])
    return shaped


def verb_out(row: RunRow) -> VerbOut:
    """Where the run stands after a verb."""
    return VerbOut(
        run_id=spelled("run_", row.id),
        status=RUN_STATES[row.status],
        intent=row.intent.value if row.intent else None,
    )


def event_out(event: EventRow) -> bytes:
    """One event of a stream, as Server-Sent Events write it: `data` is a single line of JSON."""
    data: dict[str, Any] = {"run_id": spelled("run_", event.run_id)}
    if event.step_id is not None:
        data["step_id"] = event.step_id
        if event.iteration:
            data["iteration"] = event.iteration
    data |= event.data
    if event.type is EventType.STEP_COMPLETED and "output" not in data:
        data["output"] = None
        data["output_url"] = _output_url(data["run_id"], event.step_id or "", event.iteration)
    if isinstance(until := data.pop("until", None), int):
        data["waiting_until"] = iso(until)
    data["timestamp"] = iso(event.at)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.seq,
        event.type.encode(),
        _one_line(to_json(data)),
    )


def _one_line(text: bytes) -> bytes:
    """JSON without the line ends that JSON allows and many a client splits at: U+2028 and kin."""
    for character in ("\u0085", "\u2028", "\u2029"):
        text = text.replace(character.encode(), b"\\u%04x" % ord(character))
    return text
