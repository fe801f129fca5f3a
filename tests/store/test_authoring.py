"""New versions, statuses and ends of workflows, and what comes at the same time."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select

from activities.registry import catalog
from engine.errors import Conflict, NotFound, Stale
from engine.lifecycle import TERMINAL, DefinitionStatus, Intent, RunStatus
from store import authoring, executions, live, organisations, workflows
from store.database import Database, Tx
from store.runs import RunRow
from store.tables import runs as run_table
from store.tables import versions
from store.workflows import WorkflowRow
from tests.store.world import PLACES, World, begin, log, new_workflow, overlap, seen


def revise(tx: Tx, world: World, name: str, read: authoring.Read = None) -> WorkflowRow:
    return authoring.revise(
        tx,
        world.org,
        world.workflow.id,
        name=name,
        description=None,
        definition={"name": name},
        change_summary=f"to {name}",
        read=read,
    )


def delete(tx: Tx, world: World) -> list[RunRow]:
    authoring.end(tx, world.org, world.workflow.id)
    return live.cancel_all(tx, world.org, world.workflow.id)


def pause(tx: Tx, world: World) -> list[RunRow]:
    authoring.set_status(tx, world.org, world.workflow.id, DefinitionStatus.PAUSED)
    return live.pause_all(tx, world.org, world.workflow.id)


def start(tx: Tx, world: World) -> RunRow:
    row = workflows.hold(tx, world.org, world.workflow.id)
    if row.status == "paused":
        raise Conflict("It is paused.")
    return world.run(tx)


def kept(tx: Tx, world: World) -> list[int]:
    mine = versions.c.workflow_id == world.workflow.id
    return [*tx.execute(select(versions.c.version).where(mine).order_by("version")).scalars()]


# --- versions ----------------------------------------------------------------------------------


async def test_a_revision_is_kept_beside_the_earlier_ones(database: Database, world: World) -> None:
    row = await database.write(lambda tx: revise(tx, world, "second"))
    assert (row.name, row.version, row.tags) == ("second", 2, world.workflow.tags)
    assert row.updated_at > world.workflow.updated_at
    assert await database.read(lambda tx: workflows.get(tx, world.org, row.id)) == row
    old, new = await database.read(
        lambda tx: [workflows.version(tx, row.id, number) for number in (1, 2)]
    )
    assert old.definition["name"] == "onboard"
    assert (new.definition, new.change_summary) == ({"name": "second"}, "to second")
    heads, total = await database.read(
        lambda tx: workflows.version_page(tx, row.id, limit=1, offset=0)
    )
    assert ([head.version for head in heads], total) == ([2], 2)


async def test_every_change_is_another_revision_whatever_the_clock_says(
    database: Database, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authoring, "now", lambda: 1)
    seen_revisions = [world.workflow.revision]
    for change in (
        lambda tx: revise(tx, world, "a"),
        lambda tx: authoring.set_status(tx, world.org, world.workflow.id, DefinitionStatus.DRAFT)[
            0
        ],
        lambda tx: authoring.set_status(tx, world.org, world.workflow.id, DefinitionStatus.ACTIVE)[
            0
        ],
        lambda tx: revise(tx, world, "b"),
    ):
        seen_revisions.append((await database.write(change)).revision)
    assert len(set(seen_revisions)) == 5


async def test_what_was_read_must_be_the_latest(database: Database, world: World) -> None:
    first = world.workflow.revision
    second = (await database.write(lambda tx: revise(tx, world, "x", {first}))).revision
    for read in ({first}, set(), {"", "*"}):
        with pytest.raises(Stale):
            await database.write(lambda tx, read=read: revise(tx, world, "y", read))
        with pytest.raises(Stale):
            await database.write(
                lambda tx, read=read: authoring.end(tx, world.org, world.workflow.id, read)
            )
    assert await database.read(lambda tx: kept(tx, world)) == [1, 2]
    assert (await database.write(lambda tx: revise(tx, world, "y", {first, second}))).version == 3


@pytest.mark.parametrize("read", [True, False])
async def test_the_second_of_two_writers_sees_what_the_first_has_written(
    database: Database, world: World, url: str, read: bool
) -> None:
    other = Database(url)
    known = {world.workflow.revision} if read else None
    answers = await overlap(
        database,
        lambda tx: revise(tx, world, "one", known),
        other,
        lambda tx: revise(tx, world, "two", known),
    )
    await other.close()
    outcomes = [a.version if isinstance(a, WorkflowRow) else type(a) for a in answers]
    assert outcomes == ([2, Stale] if read else [2, 3])


async def test_whoever_holds_a_workflow_has_its_latest_version(
    database: Database, world: World, url: str
) -> None:
    other = Database(url)
    held = await overlap(
        database,
        lambda tx: revise(tx, world, "new"),
        other,
        lambda tx: workflows.hold(tx, world.org, world.workflow.id),
    )
    await other.close()
    assert held[0] == held[1]


# --- the end and the pause of a workflow -----------------------------------------------------


async def test_a_deleted_workflow_is_gone_and_its_pinned_versions_stay(
    database: Database, world: World
) -> None:
    def make(tx: Tx) -> RunRow:
        revise(tx, world, "second")
        run = world.run(tx)
        revise(tx, world, "third")
        delete(tx, world)
        return run

    run = await database.write(make)
    assert run.version == 1
    assert await database.read(lambda tx: kept(tx, world)) == [1]
    gone = await database.read(lambda tx: workflows.gone(tx, {world.workflow.id, "another"}))
    assert gone == {world.workflow.id}
    for act in (
        lambda tx: workflows.get(tx, world.org, world.workflow.id),
        lambda tx: workflows.hold(tx, world.org, world.workflow.id),
        lambda tx: revise(tx, world, "fourth"),
        lambda tx: pause(tx, world),
        lambda tx: delete(tx, world),
    ):
        with pytest.raises(NotFound):
            await database.write(act)
    assert (await database.read(lambda tx: seen(tx, run.id))).status is RunStatus.CANCELLED


def every_state(tx: Tx, world: World) -> dict[str, str]:
    """A run of the workflow in every state, and one of another workflow that waits for a place."""
    made = {state: world.begun(tx).id for state in ("running", "pausing", "cancelling")}
    executions.pause(tx, world.org, made["pausing"])
    executions.cancel(tx, world.org, made["cancelling"])
    for status in (RunStatus.PAUSED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED):
        made[status] = world.begun(tx).id
        executions.close_execution(tx, made[status], 1, status, PLACES)
    made["admitted"] = world.run(tx).id
    assert [given.run for given in executions.hand_on(tx, world.org, 4)] == [made["admitted"]]
    made["queued"] = world.run(tx).id
    made["other"] = world.with_steps(tx, {"id": "a", "type": "transform"}).run(tx).id
    return made


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (
            delete,
            {
                "running": ("running", Intent.CANCEL),
                "pausing": ("running", Intent.CANCEL),
                "cancelling": ("running", Intent.CANCEL),
                "paused": ("cancelled", None),
                "admitted": ("cancelled", None),
                "queued": ("cancelled", None),
            },
        ),
        (
            pause,
            {
                "running": ("running", Intent.PAUSE),
                "pausing": ("running", Intent.PAUSE),
                "cancelling": ("running", Intent.CANCEL),
                "paused": ("paused", None),
                "admitted": ("paused", None),
                "queued": ("paused", None),
            },
        ),
    ],
)
async def test_what_becomes_of_the_runs(
    database: Database,
    world: World,
    act: Callable[[Tx, World], list[RunRow]],
    expected: dict[str, tuple[str, Intent | None]],
) -> None:
    made = await database.write(lambda tx: every_state(tx, world))
    over = {state: (state, None) for state in ("completed", "failed", "cancelled")}
    told = await database.write(lambda tx: act(tx, world))
    rows = await database.read(lambda tx: {state: seen(tx, made[state]) for state in made})
    found = {state: (str(row.status), row.intent) for state, row in rows.items()}
    assert found.pop("other") == ("queued", None)
    assert found == expected | over
    assert {row.id: row for row in told} == {
        rows[state].id: rows[state]
        for state in expected
        if act is delete or state not in ("cancelling", "paused")
    }
    # The place that is free now is handed on by whoever does that next.
    given = await database.write(lambda tx: executions.hand_on(tx, world.org, 4))
    assert [one.run for one in given] == [made["other"]]
    for state, row in rows.items():
        types = [event.type for event in await database.read(lambda tx, id=row.id: log(tx, id))]
        if state in expected and row.status in TERMINAL:
            assert types[-1] == "run_completed"
            assert types.count("run_completed") == 1


@pytest.mark.parametrize("act", [delete, pause])
@pytest.mark.parametrize("first", ["start", "act"])
async def test_a_run_that_starts_meanwhile_is_found_or_refused(
    database: Database,
    world: World,
    url: str,
    act: Callable[[Tx, World], list[RunRow]],
    first: str,
) -> None:
    other = Database(url)
    begins = partial(start, world=world)
    acts = partial(act, world=world)
    order: list[Callable[[Tx], object]] = [begins, acts] if first == "start" else [acts, begins]
    await overlap(database, order[0], other, order[1])
    await other.close()
    statuses = await database.read(
        lambda tx: (
            tx.execute(
                select(run_table.c.status).where(run_table.c.workflow_id == world.workflow.id)
            )
            .scalars()
            .all()
        )
    )
    ended = "cancelled" if act is delete else "paused"
    assert statuses == ([ended] if first == "start" else [])


LIMIT = 3


def chance(dice: random.Random, run_id: str) -> Callable[[Tx], object]:
    """Something that happens to a run as it stands by then."""
    how = dice.choice([RunStatus.COMPLETED, RunStatus.FAILED])

    def close(tx: Tx, run: RunRow) -> None:
        if run.status is RunStatus.RUNNING:
            executions.close_execution(tx, run.id, run.n, how, LIMIT)

    def resume(tx: Tx, run: RunRow) -> None:
        workflows.hold(tx, run.org_id, run.workflow_id)
        executions.resume(tx, run.org_id, run.id, None, catalog())

    acts: list[Callable[[Tx, RunRow], object]] = [
        close,
        resume,
        lambda tx, run: begin(tx, run.id, run.n, LIMIT),
        lambda tx, run: executions.cancel(tx, run.org_id, run.id),
    ]
    (act,) = dice.choices(acts, [6, 3, 8, 1])
    return lambda tx: act(tx, seen(tx, run_id))


async def attempts_at(database: Database, work: Callable[[Tx], object]) -> int:
    attempts = 0

    def counted(tx: Tx) -> None:
        nonlocal attempts
        attempts += 1
        work(tx)

    with contextlib.suppress(Conflict, NotFound):
        await database.write(counted)
    return attempts


@pytest.mark.parametrize("act", [delete, pause])
async def test_runs_begin_and_end_while_their_workflows_do(
    database: Database, url: str, act: Callable[[Tx, World], list[RunRow]]
) -> None:
    """Few places, many runs of several workflows; nobody is a deadlock's victim."""
    dice, second = random.Random(11), Database(url)

    def make(tx: Tx) -> tuple[list[World], list[str]]:
        org = organisations.ensure(tx, "busy")
        worlds = [World(org, new_workflow(tx, org), org, new_workflow(tx, org)) for _ in range(8)]
        return worlds, [world.run(tx).id for world in worlds for _ in range(6)]

    worlds, ids = await database.write(make)
    works = [chance(dice, dice.choice(ids)) for _ in range(240)]
    for number, world in enumerate(worlds[:5]):
        works.insert(30 + 40 * number, partial(act, world=world))
    async with asyncio.timeout(90):
        attempts = await asyncio.gather(
            *(attempts_at((database, second)[index % 2], work) for index, work in enumerate(works))
        )
    await second.close()
    assert set(attempts) == {1}

    def check(tx: Tx) -> None:
        rows = {run_id: seen(tx, run_id) for run_id in ids}
        assert sum(run.admitted for run in rows.values()) <= LIMIT
        for run in rows.values():
            assert run.admitted <= (run.status in ("queued", "running"))
            assert len(log(tx, run.id)) == run.seq
        ended = {world.workflow.id for world in worlds[:5]}
        if act is delete:
            for run in rows.values():
                over = run.status in TERMINAL or run.intent is Intent.CANCEL
                assert over or run.workflow_id not in ended

    await database.read(check)
