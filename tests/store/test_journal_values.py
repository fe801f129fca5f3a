"""Outputs and items, small and large, and the loops that gather them."""

import pytest
from pydantic import JsonValue
from sqlalchemy import func, select

from engine.call import StepCall
from engine.errors import NotFound, StepError
from engine.facts import Failure
from engine.lifecycle import EventType
from engine.outcomes import Branch, Done, Each
from store import blobs, journal, steps
from store.database import Database, Tx
from store.tables import blobs as blob_table
from store.tables import step_runs
from store.values import encode
from tests.store.world import World, log

#: One, two, three and four bytes of UTF-8 each.
LETTERS = ["x", "é", "€", "😀"]


def blob_count(tx: Tx) -> int:
    return tx.execute(select(func.count()).select_from(blob_table)).scalar_one()


def sized(letter: str, size: int) -> str:
    """A text of the letter whose JSON has so many bytes."""
    letters, rest = divmod(size - 2, len(letter.encode()))
    return letter * letters + "x" * rest


@pytest.mark.parametrize("letter", LETTERS)
async def test_an_output_stays_in_its_row_up_to_a_size(
    database: Database, world: World, letter: str
) -> None:
    run = await database.write(world.begun)

    def work(tx: Tx) -> None:
        for index, size in enumerate((blobs.INLINE, blobs.INLINE + 1, blobs.INLINE // 4 + 2)):
            step, value = f"s{index}", sized(letter, size)
            asked = StepCall(run=run.id, step=step)
            journal.finish(tx, asked, Done(output=value))
            row = steps.some(tx, run.id, {step: ""})[step]
            inline = size <= blobs.INLINE
            assert (row.output_size, row.output_inline) == (size, inline)
            assert row.output == (value if inline else None)
            assert steps.output(tx, run.id, step) == encode(value).encode()
            told = log(tx, run.id)[-1].data
            assert told == {"output_size": size} | ({"output": value} if inline else {})
        assert blob_count(tx) == 1

    await database.write(work)


async def test_an_output_up_to_the_cap_is_kept_and_none_beyond_it(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    largest = sized("é", blobs.MAX)
    await database.write(
        lambda tx: journal.finish(tx, StepCall(run=run.id, step="a"), Branch(output=largest))
    )
    assert await database.read(lambda tx: steps.output(tx, run.id, "a")) == (
        encode(largest).encode()
    )
    with pytest.raises(StepError, match=r"'b' is 8,388,609 bytes.*8,388,608.*reference") as caught:
        await database.write(
            lambda tx: journal.finish(
                tx, StepCall(run=run.id, step="b"), Done(output=sized("é", blobs.MAX + 1))
            )
        )
    assert (caught.value.stable_code, caught.value.retryable) == ("output_too_large", False)
    assert await database.read(lambda tx: (len(log(tx, run.id)), blob_count(tx))) == (3, 1)
    with pytest.raises(NotFound):
        await database.read(lambda tx: steps.output(tx, run.id, "b"))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_what_is_no_json_fails_the_step(
    database: Database, world: World, number: float
) -> None:
    run = await database.write(world.begun)
    for outcome in (Done(output=[number]), Branch(output=number), Each(count=1, items=[number])):
        with pytest.raises(StepError, match="'a'") as caught:
            await database.write(
                lambda tx, outcome=outcome: journal.finish(
                    tx, StepCall(run=run.id, step="a"), outcome
                )
            )
        assert (caught.value.stable_code, caught.value.retryable) == ("output_invalid", False)


@pytest.mark.parametrize("letter", LETTERS)
async def test_items_stay_in_the_row_up_to_the_same_size(
    database: Database, world: World, letter: str
) -> None:
    run = await database.write(world.begun)

    def work(tx: Tx) -> None:
        for index, size in enumerate((blobs.INLINE, blobs.INLINE + 1)):
            step = f"s{index}"
            items: list[JsonValue] = [sized(letter, size - 2)]
            journal.finish(tx, StepCall(run=run.id, step=step), Each(count=1, items=items))
            assert steps.items(tx, run.id, step, "") == items
            inline = tx.scalar(
                select(step_runs.c["items"].is_not(None)).where(step_runs.c.step_id == step)
            )
            assert bool(inline) == (size <= blobs.INLINE)

    await database.write(work)


async def test_items_over_the_cap_fail_the_loop(database: Database, world: World) -> None:
    run = await database.write(world.begun)
    items: list[JsonValue] = [sized("é", blobs.MAX - 1)]
    with pytest.raises(StepError, match=r"'a' is 8,388,609 bytes") as caught:
        await database.write(
            lambda tx: journal.finish(
                tx, StepCall(run=run.id, step="a"), Each(count=1, items=items)
            )
        )
    assert (caught.value.stable_code, caught.value.retryable) == ("output_too_large", False)


async def test_a_loop_gathers_what_its_items_have_come_to(database: Database, world: World) -> None:
    run = await database.write(world.begun)

    def work(tx: Tx) -> None:
        def body(output: JsonValue, *iteration: int, generation: int = 1, step: str = "b") -> None:
            asked = StepCall(
                run=run.id, step=step, iteration=list(iteration), generation=generation
            )
            journal.finish(tx, asked, Done(output=output))

        for outer in (0, 1, 11):
            for inner in range(12):
                body([outer, inner], outer, inner)
        large = "é" * 70_000
        body(large, 2, 0)
        body(None, 2, 1)
        journal.fail(
            tx,
            StepCall(run=run.id, step="b", iteration=[2, 2]),
            Failure(code="bad", message="Bad."),
        )
        body("rerun", 1, 3, generation=2)
        body("other step", 1, 4, step="b_")
        body("deeper", 1, 4, 0)
        body("inner loop", 1, step="b")

        def outputs(below: str, generation: int = 1) -> dict[int, JsonValue]:
            return steps.outputs_of(tx, run.id, "b", below, generation)

        for outer in (0, 11):
            assert outputs(str(outer)) == {inner: [outer, inner] for inner in range(12)}
        rest = {inner: [1, inner] for inner in range(12) if inner != 3}
        assert outputs("1") == rest
        assert outputs("1", 2) == {3: "rerun"}
        assert outputs("2") == {0: large, 1: None}
        assert outputs("1.4") == {0: "deeper"}
        assert outputs("") == {1: "inner loop"}
        assert outputs("3") == {}
        assert steps.some(tx, run.id, {"b": "1.3", "b_": "1.4"})["b"].generation == 2

    await database.write(work)


async def test_the_outputs_of_a_loop_replace_its_wait_and_keep_its_items(
    database: Database, world: World
) -> None:
    run = await database.write(world.begun)
    asked = StepCall(run=run.id, step="a")
    mine = journal.Attempted("worker-1", 1_000, begun=False)

    def work(tx: Tx) -> None:
        journal.finish(tx, asked, Each(count=2, items=["x", "y"]), mine)
        journal.finish(tx, asked, Done(output=[1, 2]))
        row = steps.some(tx, run.id, {"a": ""})["a"]
        assert (row.status, row.outcome, row.output) == ("completed", Done(), [1, 2])
        assert (row.worker, row.started_at) == ("worker-1", 1_000)
        assert steps.items(tx, run.id, "a", "") == ["x", "y"]
        assert [event.type for event in log(tx, run.id)[2:]] == [
            EventType.STEP_STARTED,
            EventType.STEP_WAITING,
            EventType.STEP_COMPLETED,
        ]

    await database.write(work)


async def test_which_step_is_the_last_one_that_completed(database: Database, world: World) -> None:
    run = await database.write(world.begun)

    def work(tx: Tx) -> None:
        for step in ("c", "a", "b"):
            journal.finish(tx, StepCall(run=run.id, step=step), Done(output=step))
        journal.finish(tx, StepCall(run=run.id, step="d", iteration=[0]), Done())
        journal.begin(tx, StepCall(run=run.id, step="e"), "worker-1", 1)
        last = steps.last_completed(tx, run.id, ["a", "b", "c", "d", "e", "f"])
        assert last is not None
        assert last.output == "c"

    await database.write(work)
