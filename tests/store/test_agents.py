"""Agents: found by id and by name, each organisation's own."""

import pytest

from engine.agent import AgentSpec, Budget
from engine.errors import Conflict, NotFound
from store import agents
from store.agents import AgentRow
from store.database import Database, Tx
from tests.store.world import World

SPEC = AgentSpec(model="openai:m", tools=["http_request"], budget=Budget(max_seconds=1.5))


async def make(database: Database, org: str, name: str = "one") -> AgentRow:
    return await database.write(lambda tx: agents.create(tx, org, name, SPEC))


async def test_an_agent_is_what_it_was_made_as(database: Database, world: World) -> None:
    made = await make(database, world.org)
    assert (made.org_id, made.name, made.spec) == (world.org, "one", SPEC)

    def found(tx: Tx) -> list[AgentRow | None]:
        return [
            agents.get(tx, world.org, made.id),
            agents.find(tx, world.org, made.id, "nobody"),
            agents.find(tx, world.org, "-", "one"),
        ]

    assert await database.read(found) == [made, made, made]
    assert await database.read(lambda tx: agents.find(tx, world.org, "-", "nobody")) is None


async def test_an_id_goes_before_a_name(database: Database, world: World) -> None:
    first = await make(database, world.org)
    await make(database, world.org, first.id)
    found = await database.read(lambda tx: agents.find(tx, world.org, first.id, first.id))
    assert found == first


async def test_a_name_is_one_agent_s(database: Database, world: World) -> None:
    await make(database, world.org, "a")
    other = await make(database, world.org, "b")
    await make(database, world.other_org, "a")
    with pytest.raises(Conflict, match="already"):
        await make(database, world.org, "a")
    with pytest.raises(Conflict, match="already"):
        await database.write(lambda tx: agents.replace(tx, world.org, other.id, "a", SPEC))
    changed = AgentSpec(instructions="x")
    now = await database.write(lambda tx: agents.replace(tx, world.org, other.id, "b", changed))
    assert (now.id, now.name, now.spec, now.created_at) == (
        other.id,
        "b",
        changed,
        other.created_at,
    )


async def test_pages(database: Database, world: World) -> None:
    made = [await make(database, world.org, name) for name in "abc"]
    await make(database, world.other_org, "d")
    page = await database.read(lambda tx: agents.page(tx, world.org, limit=2, offset=0))
    assert page == ([made[2], made[1]], 3)
    page = await database.read(lambda tx: agents.page(tx, world.org, limit=2, offset=2))
    assert page == ([made[0]], 3)


async def test_nobody_else_reaches_it(database: Database, world: World) -> None:
    made = await make(database, world.org)
    theirs = world.other_org

    def find(tx: Tx) -> list[AgentRow | None]:
        return [agents.find(tx, theirs, made.id, "-"), agents.find(tx, theirs, "-", "one")]

    assert await database.read(find) == [None, None]
    with pytest.raises(NotFound):
        await database.read(lambda tx: agents.get(tx, theirs, made.id))
    with pytest.raises(NotFound):
        await database.write(lambda tx: agents.replace(tx, theirs, made.id, "x", SPEC))
    with pytest.raises(NotFound):
        await database.write(lambda tx: agents.remove(tx, theirs, made.id))
    assert await database.read(lambda tx: agents.get(tx, world.org, made.id)) == made


async def test_what_is_removed_is_gone(database: Database, world: World) -> None:
    made = await make(database, world.org)
    await database.write(lambda tx: agents.remove(tx, world.org, made.id))
    with pytest.raises(NotFound):
        await database.write(lambda tx: agents.remove(tx, world.org, made.id))
    assert (await make(database, world.org)).id != made.id
