"""What lists say of workflows, read by the database out of their definitions."""

from typing import Any

from sqlalchemy import update

from store import authoring, latest, workflows
from store.database import Database, Tx
from store.latest import Summary
from store.tables import runs
from store.workflows import WorkflowRow
from tests.store.world import World


def made(
    tx: Tx, org: str, definition: dict[str, Any], name: str = "w", status: str = "active"
) -> WorkflowRow:
    return workflows.create(
        tx,
        org,
        name=name,
        description=None,
        definition=definition,
        status=status,
        trigger_type="manual",
        tags=[],
    )


async def test_the_latest_definition_in_short(database: Database, world: World) -> None:
    odd = {"steps": [{"id": "a\0\u2028\\u0000", "steps": [1, 2]}, {}], "entity_type": "é'"}

    def work(tx: Tx) -> tuple[str, str, dict[str, Summary], list[str | None]]:
        plain = made(tx, world.org, {"steps": [{"id": "a"}]})
        batch = made(tx, world.org, odd)
        said = latest.summaries(tx, [plain.id, batch.id])
        return plain.id, batch.id, said, [latest.entity_type(tx, row) for row in (plain, batch)]

    plain, batch, said, types = await database.write(work)
    assert said == {plain: Summary(1, None, None), batch: Summary(2, "é'", None)}
    assert types == [None, "é'"]
    assert await database.read(lambda tx: latest.summaries(tx, [])) == {}


async def test_the_latest_run_that_has_left_the_queue(database: Database, world: World) -> None:
    def began(tx: Tx) -> int | None:
        return latest.summaries(tx, [world.workflow.id])[world.workflow.id].last_run_at

    def work(tx: Tx) -> list[int | None]:
        seen = [began(tx)]
        ids = [world.run(tx).id for _ in range(3)]
        seen.append(began(tx))
        for at, (run_id, started_at) in enumerate(zip(ids, (7, 5, None), strict=True)):
            tx.execute(
                update(runs).where(runs.c.id == run_id).values(created_at=at, started_at=started_at)
            )
        return [*seen, began(tx)]

    assert await database.write(work) == [None, None, 5]


async def test_whoever_runs_over_entities_of_a_type(database: Database, world: World) -> None:
    def work(tx: Tx) -> list[str]:
        over: dict[str, Any] = {"steps": [{"id": "a\0"}], "entity_type": "t"}
        for name, status in (("b", "active"), ("a", "paused"), ("c", "archived"), ("d", "draft")):
            made(tx, world.org, over, name, status)
        made(tx, world.other_org, over, "foreign")
        made(tx, world.org, over | {"entity_type": "u"}, "other type")
        gone = made(tx, world.org, over, "gone")
        authoring.end(tx, world.org, gone.id)
        revised = made(tx, world.org, over, "revised")
        plain: dict[str, Any] = {"steps": []}
        authoring.revise(
            tx,
            world.org,
            revised.id,
            name="revised",
            description=None,
            definition=plain,
            change_summary="",
        )
        return latest.over_type(tx, world.org, "t")

    assert await database.write(work) == ["a", "b", "d"]
