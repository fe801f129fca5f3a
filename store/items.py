"""The items of a loop: how many stand where, and page by page with the rows of their steps.

An item has no row of its own. It is told from the rows of the steps of the body, those of the
loop's own generation; what did not complete in an earlier execution is about to run again and
counts as not begun.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Integer, Select, and_, case, cast, func, or_, select

from engine.lifecycle import STEP_SETTLED, STEP_TERMINAL, StepStatus
from engine.outline import Outline
from store.database import Tx
from store.steps import COLUMNS, StepRow, row_of
from store.tables import step_runs


class ItemState(StrEnum):
    """Where an item stands; `PENDING` when nothing of it is recorded."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Item:
    """One item of a loop, with the rows of its steps that have begun.

    Attributes:
        iteration: the index in each loop around its steps, its own last.
    """

    index: int
    iteration: str
    state: ItemState
    steps: dict[str, StepRow]


def counts(tx: Tx, run_id: str, loop: StepRow, outline: Outline) -> dict[ItemState, int]:
    """How many items stand where, all of them counted; `loop` is the row of the loop."""
    each = _states(run_id, loop, outline).subquery()
    rows = tx.execute(select(each.c.state, func.count()).group_by(each.c.state))
    found = dict.fromkeys(ItemState, 0) | {ItemState(state): count for state, count in rows}
    found[ItemState.PENDING] = max((loop.item_count or 0) - sum(found.values()), 0)
    return found


def page(
    tx: Tx,
    run_id: str,
    loop: StepRow,
    outline: Outline,
    state: ItemState | None,
    limit: int,
    offset: int,
) -> tuple[list[Item], int]:
    """Items of a loop in their order, and how many there are in all.

    Args:
        tx: The transaction.
        run_id: The run.
        loop: The row of the loop.
        outline: The loop as the definition has it.
        state: Only items that stand so.
        limit: How many to answer at most.
        offset: How many to leave out before.
    """
    if state is None or state is ItemState.PENDING:
        indexes, total = _any(tx, run_id, loop, outline, state, limit, offset)
    else:
        indexes, total = _standing(tx, run_id, loop, outline, state, limit, offset)
    below = _below(loop)
    places = [f"{below}{index}" for index in indexes]
    states = {
        row.iteration: ItemState(row.state)
        for row in tx.execute(_states(run_id, loop, outline, places))
    }
    rows = _rows(tx, run_id, loop, outline, places)
    found = [
        Item(index, place, states.get(place, ItemState.PENDING), rows.get(place, {}))
        for index, place in zip(indexes, places, strict=True)
    ]
    return found, total


def _any(
    tx: Tx,
    run_id: str,
    loop: StepRow,
    outline: Outline,
    state: ItemState | None,
    limit: int,
    offset: int,
) -> tuple[list[int], int]:
    """A page of all items, or of those of which nothing is recorded."""
    wanted: Sequence[int] = range(loop.item_count or 0)
    if state is not None:
        each = _states(run_id, loop, outline).subquery()
        begun = set(tx.execute(select(each.c.number)).scalars())
        wanted = [index for index in wanted if index not in begun]
    return [*wanted[offset : offset + limit]], len(wanted)


def _standing(
    tx: Tx,
    run_id: str,
    loop: StepRow,
    outline: Outline,
    state: ItemState,
    limit: int,
    offset: int,
) -> tuple[list[int], int]:
    each = _states(run_id, loop, outline).subquery()
    wanted = select(each.c.number).where(each.c.state == state)
    total = tx.execute(select(func.count()).select_from(wanted.subquery())).scalar_one()
    some = wanted.order_by(each.c.number).limit(limit).offset(offset)
    return [*tx.execute(some).scalars()], total


def _below(loop: StepRow) -> str:
    return f"{loop.iteration}." if loop.iteration else ""


def _where(run_id: str, loop: StepRow, outline: Outline, places: Sequence[str] | None) -> Any:
    table = step_runs.c
    here = (
        table.iteration.startswith(_below(loop), autoescape=True)
        if places is None
        else table.iteration.in_(places)
    )
    return and_(
        table.run_id == run_id,
        table.step_id.in_([step.step_id for step in outline.body]),
        here,
        table.generation == loop.generation,
        table.status != StepStatus.PENDING,
        or_(table.status.in_(STEP_SETTLED), table.n == loop.n),
    )


def _states(
    run_id: str, loop: StepRow, outline: Outline, places: Sequence[str] | None = None
) -> Select[Any]:
    """`iteration`, `number` and `state` of every item of which something is recorded."""
    table = step_runs.c
    fatal = [step.step_id for step in outline.body if not step.tolerated]

    def has(*conditions: Any) -> Any:
        return func.sum(case((and_(*conditions), 1), else_=0)) > 0

    # Between two of its steps an item is still going on, unless the loop itself is over.
    between = ItemState.CANCELLED if loop.status in STEP_TERMINAL else ItemState.RUNNING
    state = case(
        (has(table.status.in_([StepStatus.RUNNING, StepStatus.WAITING])), ItemState.RUNNING),
        (has(table.status == StepStatus.FAILED, table.step_id.in_(fatal)), ItemState.FAILED),
        (has(table.status == StepStatus.CANCELLED), ItemState.CANCELLED),
        (func.count() == len(outline.body), ItemState.COMPLETED),
        else_=between,
    )
    number = cast(func.substr(table.iteration, len(_below(loop)) + 1), Integer)
    return (
        select(table.iteration, number.label("number"), state.label("state"))
        .where(_where(run_id, loop, outline, places))
        .group_by(table.iteration)
    )


def _rows(
    tx: Tx, run_id: str, loop: StepRow, outline: Outline, places: Sequence[str]
) -> dict[str, dict[str, StepRow]]:
    found: dict[str, dict[str, StepRow]] = {}
    for row in tx.execute(select(*COLUMNS).where(_where(run_id, loop, outline, places))):
        found.setdefault(row.iteration, {})[row.step_id] = row_of(row)
    return found
