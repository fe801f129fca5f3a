"""The items of a loop, told from the rows of the steps inside."""

from typing import Any

import pytest
from pydantic import JsonValue

from engine.call import StepCall
from engine.facts import Failure
from engine.lifecycle import RunStatus
from engine.outcomes import Done, Each, Skip, Sleep
from engine.outline import Outline
from store import executions, items, journal, steps
from store.database import Database, Tx
from store.items import Item, ItemState
from store.runs import RunRow
from store.steps import StepRow
from tests.store.test_executions import resume
from tests.store.world import PLACES, World, begin

LOOP: JsonValue = {
    "id": "each",
    "type": "loop",
    "config": {
        "items": "input.items",
        "steps": [
            {"id": "first", "type": "transform", "config": {}},
            {"id": "soft", "type": "transform", "config": {}, "on_error": "continue"},
        ],
    },
}
BODY = Outline("each", (Outline("first"), Outline("soft", tolerated=True)))
BAD = Failure(code="bad", message="Bad.", retryable=False)


def call(run: RunRow, step: str, *iteration: int, **more: Any) -> StepCall:
    return StepCall(run=run.id, n=run.n, step=step, iteration=list(iteration), **more)


def loop_row(tx: Tx, run: RunRow, place: str = "") -> StepRow:
    return steps.some(tx, run.id, {"each": place})["each"]


def begun(tx: Tx, world: World, count: int) -> RunRow:
    run = world.with_steps(tx, LOOP).begun(tx)
    journal.finish(tx, call(run, "each"), Each(items=[*range(count)], count=count))
    return run


def play(tx: Tx, world: World) -> RunRow:
    """One item in each state that there is, by its number; 7 and 8 have not begun."""
    run = begun(tx, world, 9)
    for index in (0, 1, 2, 6):
        journal.finish(tx, call(run, "first", index), Done(output=index))
    journal.finish(tx, call(run, "soft", 0), Skip(reason="no"))
    journal.fail(tx, call(run, "soft", 1), BAD)
    journal.begin(tx, call(run, "soft", 2), "worker", 1)
    journal.fail(tx, call(run, "first", 3), BAD)
    journal.fail(tx, call(run, "first", 4, final=False), Failure(code="bad", message="Bad."))
    journal.finish(tx, call(run, "first", 5), Sleep(wake_at=7))
    return run


STATES = {
    0: ItemState.COMPLETED,
    1: ItemState.COMPLETED,
    2: ItemState.RUNNING,
    3: ItemState.FAILED,
    4: ItemState.RUNNING,
    5: ItemState.RUNNING,
    6: ItemState.RUNNING,
    7: ItemState.PENDING,
    8: ItemState.PENDING,
}


async def page(
    database: Database,
    run: RunRow,
    state: ItemState | None = None,
    limit: int = 50,
    offset: int = 0,
    place: str = "",
) -> tuple[list[Item], int]:
    return await database.read(
        lambda tx: items.page(tx, run.id, loop_row(tx, run, place), BODY, state, limit, offset)
    )


async def counted(database: Database, run: RunRow) -> dict[str, int]:
    found = await database.read(lambda tx: items.counts(tx, run.id, loop_row(tx, run), BODY))
    return {str(state): count for state, count in found.items() if count}


async def test_every_state(database: Database, world: World) -> None:
    run = await database.write(lambda tx: play(tx, world))
    found, total = await page(database, run)
    assert total == 9
    assert {item.index: item.state for item in found} == STATES
    assert [item.iteration for item in found] == [str(index) for index in range(9)]
    assert {step: row.output for step, row in found[2].steps.items()} == {"first": 2, "soft": None}
    assert found[8].steps == {}
    assert await counted(database, run) == {
        "completed": 2,
        "running": 4,
        "failed": 1,
        "pending": 2,
    }
    for state in ItemState:
        found, total = await page(database, run, state)
        assert [item.index for item in found] == [i for i, s in STATES.items() if s is state]
        assert all(item.state is state for item in found)
        assert total == len(found)


async def test_pages_are_in_the_order_of_the_numbers(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = begun(tx, world, 120)
        for index in range(0, 120, 2):
            journal.finish(tx, call(run, "first", index), Done())
            journal.finish(tx, call(run, "soft", index), Done())
        return run

    run = await database.write(work)
    for state, wanted in (
        (None, range(120)),
        (ItemState.COMPLETED, range(0, 120, 2)),
        (ItemState.PENDING, range(1, 120, 2)),
    ):
        seen: list[int] = []
        for offset in range(0, 126, 7):
            found, total = await page(database, run, state, limit=7, offset=offset)
            assert total == len(wanted)
            seen += [item.index for item in found]
        assert seen == [*wanted]


async def test_items_of_a_run_that_was_cancelled(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = play(tx, world)
        executions.close_execution(tx, run.id, 1, RunStatus.CANCELLED, PLACES)
        return run

    run = await database.write(work)
    assert await counted(database, run) == {
        "completed": 2,
        "cancelled": 4,
        "failed": 1,
        "pending": 2,
    }


async def test_what_has_to_be_done_again_counts_as_not_begun(
    database: Database, world: World
) -> None:
    def work(tx: Tx) -> RunRow:
        run = play(tx, world)
        executions.close_execution(tx, run.id, 1, RunStatus.CANCELLED, PLACES)
        run = resume(tx, world.org, run.id)
        assert executions.hand_on(tx, world.org, PLACES) != []
        return run

    run = await database.write(work)

    def again(tx: Tx) -> None:
        begin(tx, run.id, 2)
        each = Each(items=[*range(9)], count=9)
        journal.finish(tx, call(run, "each", generation=loop_row(tx, run).generation), each)

    await database.write(again)
    # What completed keeps its result: items 0 and 1 need nothing but their second step at most.
    found, _ = await page(database, run)
    assert [(item.index, str(item.state)) for item in found if item.steps] == [
        (0, "completed"),
        (1, "running"),
        (2, "running"),
        (6, "running"),
    ]


async def test_a_loop_in_a_loop(database: Database, world: World) -> None:
    def work(tx: Tx) -> RunRow:
        run = world.with_steps(tx, LOOP).begun(tx)
        for outer in (1, 11):
            journal.finish(tx, call(run, "each", outer), Each(items=[1, 2], count=2))
            journal.finish(tx, call(run, "first", outer, 0), Done(output=outer))
        journal.finish(tx, call(run, "soft", 11, 0), Done())
        return run

    run = await database.write(work)
    found, total = await page(database, run, place="1")
    assert total == 2
    assert [(item.iteration, str(item.state)) for item in found] == [
        ("1.0", "running"),
        ("1.1", "pending"),
    ]
    found, _ = await page(database, run, ItemState.COMPLETED, place="11")
    assert [(item.index, item.iteration) for item in found] == [(0, "11.0")]


@pytest.mark.parametrize("count", [0, 3])
async def test_a_loop_that_has_only_been_listed(
    database: Database, world: World, count: int
) -> None:
    run = await database.write(lambda tx: begun(tx, world, count))
    assert await counted(database, run) == ({"pending": 3} if count else {})
    _, total = await page(database, run)
    assert total == count
