"""Accepting runs, listing them, and what the sweeper asks for."""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import update

from engine.lifecycle import Intent, RunStatus
from store import runs
from store.clock import now
from store.database import Database, Tx
from store.ids import new_id
from store.runs import RunHead, Wanted
from store.tables import runs as rows
from tests.store.world import World, new_workflow


def change(tx: Tx, run_id: str, **columns: object) -> None:
    tx.execute(update(rows).where(rows.c.id == run_id).values(**columns))


def ids(found: Sequence[RunHead]) -> list[str]:
    return [run.id for run in found]


async def test_an_accepted_run_is_queued(database: Database, world: World) -> None:
    before = now()
    new = world.new_run(input={"ü": [1, 2.5, None, {"a": "\ud800"}]})
    run = await database.write(lambda tx: runs.accept(tx, new))
    assert run == await database.read(lambda tx: runs.get(tx, world.org, run.id))
    assert run == await database.read(lambda tx: runs.by_id(tx, run.id))
    assert run.input == new.input
    assert (run.status, run.intent, run.n, run.seq) == (RunStatus.QUEUED, None, 1, 1)
    assert run.temporal_id == f"run/{run.id}/1"
    assert (run.admitted, run.dispatched_at, run.output, run.error) == (False, None, None, None)
    assert before <= run.created_at == run.queued_at == run.updated_at <= now()
    assert await database.read(lambda tx: runs.by_id(tx, new_id())) is None


async def test_a_run_is_accepted_once(database: Database, world: World) -> None:
    new = world.new_run(input={"first": True})
    first = await database.write(lambda tx: runs.accept(tx, new))
    await database.write(lambda tx: change(tx, first.id, status=RunStatus.RUNNING))
    again = await database.write(
        lambda tx: runs.accept(tx, world.new_run(input={"first": False}, id=new.id))
    )
    assert (again.input, again.status, again.seq) == ({"first": True}, RunStatus.RUNNING, 1)


async def test_what_is_decoded(database: Database, world: World) -> None:
    run = await database.write(world.run)
    await database.write(
        lambda tx: change(
            tx,
            run.id,
            status=RunStatus.FAILED,
            intent=Intent.CANCEL,
            output="[1]",
            error='{"code":"x"}',
            admitted=True,
        )
    )
    found = await database.read(lambda tx: runs.get(tx, world.org, run.id))
    assert (found.status, found.intent) == (RunStatus.FAILED, Intent.CANCEL)
    assert (found.output, found.error, found.admitted) == ([1], {"code": "x"}, True)


async def test_pages_hold_every_run_once(database: Database, world: World) -> None:
    """Also where many were accepted in the same microsecond."""

    def make(tx: Tx) -> list[str]:
        # The order of insertion must not happen to be that of the ids.
        early = [secrets.token_hex(16) for _ in range(20)]
        made = [runs.accept(tx, world.new_run(id=run_id)).id for run_id in early]
        made += [world.run(tx).id for _ in range(3)]
        for run_id in made[:20]:
            change(tx, run_id, created_at=1_000)
        return [*reversed(made[20:]), *sorted(made[:20], reverse=True)]

    expected = await database.write(make)
    seen: list[str] = []
    for offset in range(0, 28, 4):
        found, total = await database.read(
            lambda tx, offset=offset: runs.page(tx, world.org, Wanted(), limit=4, offset=offset)
        )
        assert total == 23
        seen += ids(found)
    assert seen == expected


async def test_pages_are_narrowed(database: Database, world: World) -> None:
    other = await database.write(lambda tx: new_workflow(tx, world.org, "other"))
    mine = [await database.write(world.run) for _ in range(3)]
    elsewhere = World(world.org, other, world.other_org, world.other_workflow)
    theirs = await database.write(elsewhere.run)
    for run, values in (
        (mine[0], {"status": RunStatus.FAILED, "created_at": 1_000}),
        (mine[1], {"status": RunStatus.PAUSED, "created_at": 2_000, "trigger": "schedule"}),
        (mine[2], {"created_at": 3_000}),
        (theirs, {"created_at": 4_000}),
    ):
        await database.write(lambda tx, run=run, values=values: change(tx, run.id, **values))

    async def page(**wanted: Any) -> list[str]:
        found, total = await database.read(
            lambda tx: runs.page(tx, world.org, Wanted(**wanted), limit=9, offset=0)
        )
        assert total == len(found)
        return ids(found)

    first, second, third = ids(mine)
    assert await page() == [theirs.id, third, second, first]
    assert await page(workflow_id=other.id) == [theirs.id]
    assert await page(workflow_id=world.workflow.id, statuses=[RunStatus.QUEUED]) == [third]
    assert await page(statuses=[RunStatus.FAILED, RunStatus.PAUSED]) == [second, first]
    assert await page(statuses=[RunStatus.CANCELLED]) == []
    assert await page(trigger="schedule") == [second]
    assert await page(created_after=2_000, created_before=3_000) == [third, second]
    assert await page(created_after=4_001) == []
    assert await page(created_before=999) == []


async def test_a_list_leaves_out_what_may_be_large(database: Database, world: World) -> None:
    run = await database.write(lambda tx: runs.accept(tx, world.new_run({"text": "x" * 100})))
    ((head,), _) = await database.read(
        lambda tx: runs.page(tx, world.org, Wanted(), limit=9, offset=0)
    )
    whole = vars(run)
    assert vars(head) == {name: whole[name] for name in whole if name not in ("input", "output")}


async def test_dispatch_is_noted_once_and_for_the_latest_execution(
    database: Database, world: World
) -> None:
    run = await database.write(world.run)

    async def noted(n: int) -> int | None:
        await database.write(lambda tx: runs.dispatched(tx, run.id, n))
        return (await database.read(lambda tx: runs.get(tx, world.org, run.id))).dispatched_at

    assert await noted(2) is None
    first = await noted(1)
    assert first is not None
    assert await noted(1) == first


async def test_what_the_sweeper_asks_for(database: Database, world: World) -> None:
    def make(tx: Tx) -> dict[str, str]:
        made = {}
        for age, (name, columns) in enumerate(
            {
                "fresh": {},
                "lost": {"updated_at": 30},
                "older": {"updated_at": 20},
                "dispatched": {"updated_at": 10, "dispatched_at": 10},
                "running": {"updated_at": 40, "status": RunStatus.RUNNING, "intent": Intent.PAUSE},
                "paused": {"updated_at": 50, "status": RunStatus.PAUSED, "intent": Intent.CANCEL},
                "over": {"updated_at": 60, "status": RunStatus.FAILED},
                "ended": {
                    "updated_at": 70,
                    "status": RunStatus.CANCELLED,
                    "intent": Intent.TERMINATE,
                },
            }.items()
        ):
            made[name] = world.run(tx).id
            change(tx, made[name], **{"created_at": age, **columns})
        return made

    made = await database.write(make)
    asked = {
        "undispatched": lambda tx: runs.undispatched(tx, 1000, 9),
        "one": lambda tx: runs.undispatched(tx, 1000, 1),
        "earlier": lambda tx: runs.undispatched(tx, 30, 9),
        "open": lambda tx: runs.open_runs(tx, 1000, "", 9),
        "next": lambda tx: runs.open_runs(tx, 1000, made["older"], 1),
        "intent": lambda tx: runs.with_intent(tx, 9),
    }
    expected = {
        "undispatched": ["older", "lost"],
        "one": ["older"],
        "earlier": ["older"],
        "open": ["lost", "older", "dispatched", "running"],
        "next": ["dispatched"],
        "intent": ["running", "paused", "ended"],
    }
    for question, ask in asked.items():
        found = ids(await database.read(ask))
        assert found == [made[name] for name in expected[question]], question
