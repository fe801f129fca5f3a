"""What lists say of workflows, read by the database out of their definitions."""

from typing import Any

from sqlalchemy import update

from store import latest, workflows
from store.database import Database, Tx
from store.latest import Summary
from store.tables import runs
from store.workflows import WorkflowRow
from tests.store.world import World


def made(tx: Tx, org: str, definition: dict[str, Any]) -> WorkflowRow:
    return workflows.create(
        tx,
        org,
        name="w",
        description=None,
        definition=definition,
        status="active",
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
