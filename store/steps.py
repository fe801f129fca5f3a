"""The rows of steps, for reading: what the run page shows and what later steps need."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Row, Select, and_, bindparam, or_, select

from engine.errors import NotFound
from engine.lifecycle import RunStatus, StepStatus
from engine.outcomes import Answer, Outcome
from engine.usage import Usage
from store import blobs
from store.database import Tx
from store.tables import runs, step_runs
from store.values import decode, decode_object


@dataclass(frozen=True)
class StepRow:
    """A step of a run as it is recorded.

    Attributes:
        output: decoded; None as well when it is in a blob (`output_inline` is False then).
        output_size: bytes of JSON.
        item_count: how many items a loop has, once it has listed them.
        error: `{"code", "message"}` of the last failure, or `{"reason"}` of a skip.
        usage: what was asked of models over all attempts; None when nothing was.
    """

    step_id: str
    iteration: str
    n: int
    generation: int
    attempt: int
    status: StepStatus
    outcome: Outcome | None
    output: JsonValue
    output_size: int
    output_inline: bool
    item_count: int | None
    error: dict[str, Any] | None
    worker: str | None
    usage: Usage | None
    wake_at: int | None
    started_at: int | None
    completed_at: int | None
    updated_at: int


@dataclass(frozen=True)
class RunFacts:
    """What a step needs to know of its run; `placed` when it holds a place and knows of it.

    Attributes:
        event_id: the published event that has started it.
        lanes: how many entities it is for, where it is a batch.
    """

    org_id: str
    workflow_id: str
    workflow_name: str
    version: int
    trigger: str
    n: int
    status: RunStatus
    intent: str | None
    created_at: int
    placed: bool
    event_id: str | None
    lanes: int | None


#: What is read of a step: all but the items of a loop.
COLUMNS = [column for column in step_runs.c if column.name not in ("items", "items_blob")]


def row_of(row: Row[Any]) -> StepRow:
    """A row of these columns, decoded."""
    return StepRow(
        step_id=row.step_id,
        iteration=row.iteration,
        n=row.n,
        generation=row.generation,
        attempt=row.attempt,
        status=StepStatus(row.status),
        outcome=Answer.model_validate_json(row.answer).root if row.answer else None,
        output=decode(row.output) if row.output is not None else None,
        output_size=row.output_size,
        output_inline=row.output_blob is None,
        item_count=row.item_count,
        error=decode_object(row.error) if row.error else None,
        worker=row.worker,
        usage=Usage(**json.loads(row.usage)) if row.usage else None,
        wake_at=row.wake_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        updated_at=row.updated_at,
    )


#: Statements are built once: making one costs more than carrying it out.
_RUN_FACTS = select(
    runs.c.org_id,
    runs.c.workflow_id,
    runs.c.workflow_name,
    runs.c.version,
    runs.c.trigger,
    runs.c.n,
    runs.c.status,
    runs.c.intent,
    runs.c.created_at,
    runs.c.admitted,
    runs.c.parked,
    runs.c.event_id,
    runs.c.lanes,
).where(runs.c.id == bindparam("run"))
_TOP = select(*COLUMNS).where(step_runs.c.run_id == bindparam("run"), step_runs.c.iteration == "")
_RUN_INPUT = select(runs.c.input).where(runs.c.id == bindparam("run"))


def run_facts(tx: Tx, run_id: str) -> RunFacts | None:
    """The run that a step belongs to; None when it was deleted."""
    row = tx.execute(_RUN_FACTS, {"run": run_id}).first()
    if row is None:
        return None
    placed = row.admitted and not row.parked
    status = RunStatus(row.status)
    return RunFacts(*row[:6], status, row.intent, row.created_at, placed, row.event_id, row.lanes)


def run_input(tx: Tx, run_id: str) -> JsonValue:
    """The input that the run was started with."""
    return decode(tx.execute(_RUN_INPUT, {"run": run_id}).scalar_one())


def some(tx: Tx, run_id: str, wanted: Mapping[str, str]) -> dict[str, StepRow]:
    """The rows of these steps in these iterations, those that exist."""
    values = {"run": run_id}
    for index, (step_id, iteration) in enumerate(wanted.items()):
        values |= {f"step{index}": step_id, f"iteration{index}": iteration}
    rows = tx.execute(_some(len(wanted)), values) if wanted else ()
    return {row.step_id: row_of(row) for row in rows}


@cache
def _some(count: int) -> Select[Any]:
    """The statement for that many steps."""
    return select(*COLUMNS).where(
        step_runs.c.run_id == bindparam("run"),
        or_(
            *(
                and_(
                    step_runs.c.step_id == bindparam(f"step{index}"),
                    step_runs.c.iteration == bindparam(f"iteration{index}"),
                )
                for index in range(count)
            )
        ),
    )


def page_rows(tx: Tx, run_id: str) -> list[StepRow]:
    """The rows of the outermost scope, in no particular order."""
    rows = tx.execute(_TOP, {"run": run_id})
    return [row_of(row) for row in rows]


def output(tx: Tx, run_id: str, step_id: str, iteration: str = "") -> bytes:
    """The JSON text of a step's output, wherever it is kept.

    Raises:
        NotFound: the step has no output.
    """
    row = tx.execute(
        select(step_runs.c.output, step_runs.c.output_blob).where(
            step_runs.c.run_id == run_id,
            step_runs.c.step_id == step_id,
            step_runs.c.iteration == iteration,
        )
    ).first()
    if row is None or (row.output is None and row.output_blob is None):
        raise NotFound(f"Step '{step_id}' has no output.")
    return blobs.get(tx, row.output_blob) if row.output_blob else row.output.encode()


def outputs_of(
    tx: Tx, run_id: str, step_id: str, below: str, generation: int
) -> dict[int, JsonValue]:
    """The outputs of a loop's last body step by item; `below` is the loop's own iteration."""
    prefix = f"{below}." if below else ""
    rows = tx.execute(
        select(
            step_runs.c.iteration, step_runs.c.output, step_runs.c.output_blob, step_runs.c.status
        ).where(
            step_runs.c.run_id == run_id,
            step_runs.c.step_id == step_id,
            step_runs.c.generation == generation,
            step_runs.c.iteration.startswith(prefix, autoescape=True),
        )
    )
    found: dict[int, JsonValue] = {}
    for row in rows:
        index = row.iteration.removeprefix(prefix)
        if row.status == StepStatus.COMPLETED and index.isdecimal():
            text = blobs.get(tx, row.output_blob).decode() if row.output_blob else row.output
            found[int(index)] = decode(text) if text is not None else None
    return found


def items(tx: Tx, run_id: str, step_id: str, iteration: str) -> list[JsonValue]:
    """The items of a loop."""
    row = tx.execute(
        select(step_runs.c["items"].label("listed"), step_runs.c.items_blob).where(
            step_runs.c.run_id == run_id,
            step_runs.c.step_id == step_id,
            step_runs.c.iteration == iteration,
        )
    ).first()
    if row is None:
        return []
    text = blobs.get(tx, row.items_blob).decode() if row.items_blob else row.listed
    found = decode(text) if text else []
    return found if isinstance(found, list) else []


def last_completed(tx: Tx, run_id: str, order: Sequence[str]) -> StepRow | None:
    """The completed step of the outermost scope that stands last in `order`."""
    by_id = {row.step_id: row for row in page_rows(tx, run_id)}
    for step_id in reversed(order):
        row = by_id.get(step_id)
        if row is not None and row.status is StepStatus.COMPLETED:
            return row
    return None
