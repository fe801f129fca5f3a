"""Workflows, their versions and their pages."""

from typing import Any

import pytest
from sqlalchemy import update

from engine.errors import NotFound
from store import workflows
from store.database import Database, Tx
from store.tables import workflows as rows
from tests.store.world import World, new_workflow


async def test_a_workflow_and_its_first_version(database: Database, world: World) -> None:
    definition = {"steps": [{"type": "x", "id": "a"}], "a": "é", "name": None}
    made = await database.write(
        lambda tx: workflows.create(
            tx,
            world.org,
            name="pay",
            description="Pays.",
            definition=definition,
            status="draft",
            trigger_type="event",
            tags=["b", "a"],
        )
    )
    assert made == await database.read(lambda tx: workflows.get(tx, world.org, made.id))
    assert (made.name, made.description, made.status) == ("pay", "Pays.", "draft")
    assert (made.trigger_type, made.tags, made.version) == ("event", ["b", "a"], 1)
    version = await database.read(lambda tx: workflows.version(tx, made.id, 1))
    assert version.definition == definition
    # The author's order, which equality does not see.
    assert [*version.definition] == ["steps", "a", "name"]
    assert version.change_summary == "Initial version"
    text = await database.read(lambda tx: workflows.definition_text(tx, made.id, 1))
    assert text == '{"steps":[{"type":"x","id":"a"}],"a":"é","name":null}'


async def test_a_version_that_is_not_there(database: Database, world: World) -> None:
    for get in (workflows.version, workflows.definition_text):
        with pytest.raises(NotFound):
            await database.read(lambda tx, get=get: get(tx, world.workflow.id, 2))


async def test_a_deleted_workflow_is_gone_and_its_version_stays(
    database: Database, world: World
) -> None:
    await database.write(
        lambda tx: tx.execute(
            update(rows).where(rows.c.id == world.workflow.id).values(deleted_at=1)
        )
    )
    with pytest.raises(NotFound):
        await database.read(lambda tx: workflows.get(tx, world.org, world.workflow.id))
    assert await database.read(lambda tx: workflows.page(tx, world.org, limit=9, offset=0)) == (
        [],
        0,
    )
    assert await database.read(lambda tx: workflows.version(tx, world.workflow.id, 1))


async def test_pages_hold_every_workflow_once(database: Database, world: World) -> None:
    def make(tx: Tx) -> list[str]:
        made = [new_workflow(tx, world.org, f"w{number}").id for number in range(10)]
        tx.execute(update(rows).where(rows.c.id.in_(made)).values(created_at=2_000))
        return [world.workflow.id, *sorted(made, reverse=True)]

    expected = await database.write(make)
    seen = []
    for offset in range(0, 15, 3):
        found, total = await database.read(
            lambda tx, offset=offset: workflows.page(tx, world.org, limit=3, offset=offset)
        )
        assert total == 11
        seen += [row.id for row in found]
    assert seen == expected


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("a", ["ab"]),
        ("b", ["ab"]),
        ("a,b", []),
        (",", []),
        ('","', []),
        ("%", ["odd"]),
        ('say "hi"', ["odd"]),
        ("back\\", ["odd"]),
        ("é", ["odd"]),
        ("E", []),
    ],
)
async def test_a_tag_is_matched_whole(
    database: Database, world: World, tag: str, found: list[str]
) -> None:
    await database.write(lambda tx: new_workflow(tx, world.org, "ab", ("a", "b")))
    await database.write(
        lambda tx: new_workflow(tx, world.org, "odd", ("%", 'say "hi"', "back\\", "é"))
    )
    rows, total = await database.read(
        lambda tx: workflows.page(tx, world.org, tag=tag, limit=9, offset=0)
    )
    assert ([row.name for row in rows], total) == (found, len(found))


async def test_pages_are_narrowed(database: Database, world: World) -> None:
    async def count(**narrowed: Any) -> int:
        _, total = await database.read(
            lambda tx: workflows.page(tx, world.org, limit=9, offset=0, **narrowed)
        )
        return total

    assert await count(statuses=["active"], trigger_type="manual") == 1
    assert await count(statuses=["draft", "active"]) == 1
    assert await count(statuses=["draft"]) == 0
    assert await count(trigger_type="event") == 0
