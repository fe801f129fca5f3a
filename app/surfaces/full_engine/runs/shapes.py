"""Turns the rows of runs, steps and events into what is answered."""

from collections.abc import Mapping
from typing import Any

from app.envelope import to_json
from app.services.run_pages import ItemPage, RunList, RunView, StepView, counts_of
from app.surfaces.full_engine.runs.schemas import (
    ATTEMPT_STATES,
    INTENTS,
    ITEM_STATES,
    RUN_STATES,
    STEP_STATES,
    AttemptOut,
    BatchOut,
    ItemOut,
    ItemsOut,
    IterationsOut,
    RunErrorOut,
    RunFullOut,
    RunOut,
    RunsOut,
    StepRunOut,
    StepState,
    UsageOut,
    VerbOut,
)
from app.surfaces.full_engine.wire import iso, maybe_iso, seconds_between, spelled
from engine.lifecycle import TERMINAL, EventType, RunStatus, StepStatus
from store.attempts import Attempt
from store.batches import BatchRow, StepTally
from store.blobs import INLINE
from store.events import EventRow
from store.items import Item, ItemState
from store.runs import RunHead, RunRow

#: Bytes of outputs and of errors on one run page; what is over is read by its own address.
_OUTPUTS = 512 * 1024
_ERRORS = 128 * 1024
#: Steps that have not begun when their run is over; contracts C-q7.
_UNBEGUN: dict[RunStatus, StepState] = {
    RunStatus.CANCELLED: "cancelled",
    RunStatus.FAILED: "skipped",
}
_UNBEGUN_IN: dict[ItemState, StepState] = {
    ItemState.CANCELLED: "cancelled",
    ItemState.FAILED: "skipped",
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


def run_out(row: RunHead, *, orphaned: bool = False) -> RunOut:
    """A run, as in lists; `orphaned` when its workflow was deleted."""
    return RunOut(
        id=spelled("run_", row.id),
        workflow_id=None if orphaned else spelled("wf_", row.workflow_id),
        workflow_name=row.workflow_name,
        version=row.version,
        execution=row.n,
        status=RUN_STATES[row.status],
        intent=INTENTS[row.intent] if row.intent else None,
        trigger=row.trigger,
        parent_run_id=spelled("run_", row.parent_run_id) if row.parent_run_id else None,
        parent_step_id=row.parent_step_id,
        schedule_id=spelled("sched_", row.schedule_id) if row.schedule_id else None,
        scheduled_at=maybe_iso(row.scheduled_at),
        event_id=spelled("cbevt_", row.event_id) if row.event_id else None,
        created_at=iso(row.created_at),
        started_at=maybe_iso(row.started_at),
        completed_at=maybe_iso(row.completed_at),
        duration_seconds=seconds_between(row.started_at, row.completed_at),
        error=_error(row.error, _Room(_ERRORS)),
    )


def runs_out(found: RunList) -> RunsOut:
    """A page of runs."""
    return RunsOut(
        runs=[run_out(row, orphaned=row.workflow_id in found.gone) for row in found.rows],
        total=found.total,
    )


def run_full_out(view: RunView) -> RunFullOut:
    """The run page: under a megabyte, whatever came in and what the steps have put out."""
    row, room, words = view.row, _Room(_OUTPUTS), _Room(_ERRORS)
    here = f"/api/workflows/runs/{spelled('run_', row.id)}"
    size = len(to_json(row.input))
    told = size <= INLINE and room.takes(size)
    size = len(to_json(row.output))
    shown = row.output_blob is None and size <= INLINE and room.takes(size)
    return RunFullOut(
        **run_out(row, orphaned=view.orphaned),
        input_data=row.input if told else None,
        input_url=None if told else f"{here}/input",
        output=row.output if shown else None,
        output_url=None if shown else f"{here}/output",
        step_runs=[_step_out(step, row, room, words) for step in view.steps],
        batch=_batch_out(view.batch),
    )


def _batch_out(batch: BatchRow | None) -> BatchOut | None:
    if batch is None:
        return None
    return BatchOut(total=batch.total, completed=batch.completed, failed=batch.failed)


def items_out(page: ItemPage) -> ItemsOut:
    """Items of a loop; their outputs are bounded together, as those of a run page are."""
    room, words = _Room(_OUTPUTS), _Room(_ERRORS)
    return ItemsOut(
        items=[
            ItemOut(
                index=view.item.index,
                iteration=view.item.iteration,
                status=ITEM_STATES[view.item.state],
                step_runs=[
                    _step_out(step, page.run, room, words, view.item) for step in view.steps
                ],
            )
            for view in page.items
        ],
        total=page.total,
    )


def attempt_out(attempt: Attempt) -> AttemptOut:
    """One attempt of a step."""
    return AttemptOut(
        attempt=attempt.attempt,
        execution=attempt.execution,
        generation=attempt.generation,
        status="lost" if attempt.status is None else ATTEMPT_STATES[attempt.status],
        will_retry=attempt.will_retry,
        error=_error(attempt.error, _Room(_ERRORS)),
        worker=attempt.worker,
        started_at=iso(attempt.started_at),
        ended_at=maybe_iso(attempt.ended_at),
        duration_seconds=seconds_between(attempt.started_at, attempt.ended_at),
    )


def _step_url(run: str, step_id: str, iteration: str, what: str) -> str:
    query = f"?iteration={iteration}" if iteration else ""
    return f"/api/workflows/runs/{run}/steps/{step_id}/{what}{query}"


def _unbegun_out(step_id: str, status: StepState, reason: str) -> StepRunOut:
    """A step that has not begun; once what it is in is over it will not, unless that is resumed."""
    return StepRunOut(
        step_id=step_id,
        status=status,
        attempt=0,
        output=None,
        output_size=0,
        output_url=None,
        error=None if status == "pending" else RunErrorOut(reason=reason),
        started_at=None,
        completed_at=None,
        duration_seconds=None,
    )


def _step_out(
    step: StepView, run: RunRow, room: _Room, words: _Room, item: Item | None = None
) -> StepRunOut:
    row, run_id = step.row, spelled("run_", run.id)
    if step.tally is not None:
        return _tally_out(step.step_id, step.tally, run, step.begun_at)
    if row is None or row.status is StepStatus.PENDING:
        if item is not None and item.state in _UNBEGUN_IN:
            return _unbegun_out(
                step.step_id, _UNBEGUN_IN[item.state], f"The item was over ({item.state})."
            )
        status = _UNBEGUN.get(run.status, "pending")
        return _unbegun_out(step.step_id, status, f"The run was over ({run.status}).")
    iteration = item.iteration if item is not None else ""
    shown = row.output_inline and room.takes(row.output_size)
    page = StepRunOut(
        step_id=step.step_id,
        status=STEP_STATES[row.status],
        attempt=row.attempt,
        output=row.output if shown else None,
        output_size=row.output_size,
        output_url=None if shown else _step_url(run_id, step.step_id, iteration, "output"),
        error=_error(row.error, words),
        started_at=maybe_iso(row.started_at),
        completed_at=maybe_iso(row.completed_at),
        duration_seconds=seconds_between(row.started_at, row.completed_at),
    )
    if row.status is StepStatus.WAITING and row.wake_at is not None:
        page["waiting_until"] = iso(row.wake_at)
    if step.items is not None:
        page["iterations"] = _iterations(step.items)
        page["items_url"] = _step_url(run_id, step.step_id, iteration, "items")
    if row.usage is not None:
        usage = row.usage
        page["usage"] = UsageOut(
            requests=usage.requests,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
        )
    return page


def _tally_out(step_id: str, tally: StepTally, run: RunRow, at: int | None) -> StepRunOut:
    """A step of a batch: under way until the run is over, then as it has ended for any entity.

    It counts as under way from when the first entity began, `at`, until the run was over.
    """
    status: StepState = "running"
    if run.status in TERMINAL:
        status = "completed" if tally.completed else "failed" if tally.failed else "skipped"
    counts = counts_of(tally)
    began = at if tally.begun or status == "running" else None
    ended = None if began is None or status == "running" else run.completed_at
    return StepRunOut(
        step_id=step_id,
        status=status,
        attempt=1,
        output=counts,
        output_size=len(to_json(counts)),
        output_url=None,
        error=None,
        started_at=maybe_iso(began),
        completed_at=maybe_iso(ended),
        duration_seconds=seconds_between(began, ended),
    )


def _iterations(items: Mapping[ItemState, int]) -> IterationsOut:
    return IterationsOut(
        total=sum(items.values()),
        pending=items[ItemState.PENDING],
        running=items[ItemState.RUNNING],
        completed=items[ItemState.COMPLETED],
        failed=items[ItemState.FAILED],
        cancelled=items[ItemState.CANCELLED],
    )


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
        intent=INTENTS[row.intent] if row.intent else None,
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
        data["output_url"] = _step_url(
            data["run_id"], event.step_id or "", event.iteration, "output"
        )
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
