"""What belongs to another organisation looks like what does not exist."""

from collections.abc import Callable

import pytest

from engine.errors import Conflict, NotFound
from engine.roles import Role
from store import entities, entity_types, keys, published, runs, templates, workflows
from store.database import Database, Tx
from store.entity_types import NewType
from store.publishing import Verdicts
from store.runs import Wanted
from tests.store.world import World

PEPPER = b"pepper"
UNKNOWN = "f" * 32


class Mine:
    """One thing of each kind, by its id."""

    def __init__(self, tx: Tx, world: World) -> None:
        self.workflow = self.held = world.workflow.id
        self.run = world.run(tx).id
        self.template = templates.create(
            tx, world.org, name="t", description=None, category="c", definition={}
        ).id
        self.entity_type = entity_types.create(
            tx, world.org, NewType("Thing", "Things", "things", None, None, [])
        ).id
        new = entities.new_entity({})
        self.entity = entities.create(tx, world.org, "Vendor", new, Verdicts()).row.id
        self.event = new.event_id
        self.token = keys.new_token()
        self.key = keys.add(tx, world.org, "ci", Role.ADMIN, self.token, PEPPER).id


#: Every function that takes an organisation and the id of one thing.
GETTERS: dict[str, Callable[[Tx, str, str], object]] = {
    "workflow": workflows.get,
    "held": workflows.hold,
    "run": runs.get,
    "template": templates.get,
    "entity_type": entity_types.get,
    "entity": entities.get,
    "event": published.get,
    "key": keys.revoke,
}


@pytest.mark.parametrize("kind", GETTERS)
async def test_a_foreign_id_looks_unknown(database: Database, world: World, kind: str) -> None:
    mine = await database.write(lambda tx: Mine(tx, world))
    get, mine_id = GETTERS[kind], getattr(mine, kind)
    with pytest.raises(NotFound) as foreign:
        await database.write(lambda tx: get(tx, world.other_org, mine_id))
    with pytest.raises(NotFound) as unknown:
        await database.write(lambda tx: get(tx, world.other_org, UNKNOWN))
    assert foreign.value.message == unknown.value.message
    assert foreign.value.stable_code == unknown.value.stable_code
    await database.write(lambda tx: get(tx, world.org, mine_id))


async def test_lists_hold_only_what_is_ones_own(database: Database, world: World) -> None:
    mine = await database.write(lambda tx: Mine(tx, world))

    def listed(tx: Tx, org: str) -> list[list[str]]:
        found_runs, run_total = runs.page(tx, org, Wanted(), limit=50, offset=0)
        found_workflows, workflow_total = workflows.page(tx, org, limit=50, offset=0)
        found_keys, key_total = keys.page(tx, org, limit=50, offset=0)
        every = (found_runs, found_workflows, found_keys)
        assert (run_total, workflow_total, key_total) == tuple(map(len, every))
        return [[row.id for row in found] for found in every]

    assert await database.read(lambda tx: listed(tx, world.org)) == [
        [mine.run],
        [mine.workflow],
        [mine.key],
    ]
    assert await database.read(lambda tx: listed(tx, world.other_org)) == [
        [],
        [world.other_workflow.id],
        [],
    ]
    foreign = await database.read(
        lambda tx: runs.page(
            tx, world.other_org, Wanted(workflow_id=world.workflow.id), limit=50, offset=0
        )
    )
    assert foreign == ([], 0)


async def test_ids_and_tokens_of_others_cannot_be_taken(database: Database, world: World) -> None:
    mine = await database.write(lambda tx: Mine(tx, world))
    with pytest.raises(Conflict):
        await database.write(
            lambda tx: keys.add(tx, world.other_org, "ci", Role.ADMIN, mine.token, PEPPER)
        )
    theirs = World(world.other_org, world.other_workflow, world.org, world.workflow)
    with pytest.raises(Conflict):
        await database.write(lambda tx: runs.accept(tx, theirs.new_run(id=mine.run)))
    found = await database.read(lambda tx: keys.find(tx, mine.token, PEPPER))
    assert found is not None
    assert found.org_id == world.org
