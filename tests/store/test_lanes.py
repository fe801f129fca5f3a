"""Looking up lanes, on both databases."""

from functools import partial

from store import lanes
from store.database import Database
from tests.store.test_batches import begun
from tests.store.world import World


async def test_the_lane_of_an_entity(database: Database, world: World) -> None:
    run = await database.write(lambda tx: begun(tx, world, 3))
    other = await database.write(lambda tx: begun(tx, world, 1))
    rows, _ = await database.read(lambda tx: lanes.page(tx, run.id, limit=9, offset=0))
    assert len(rows) == 3
    for row in rows:
        of_it = partial(lanes.of_entity, entity_id=row.entity_id)
        assert await database.read(partial(of_it, run_id=run.id)) == row
        assert await database.read(partial(of_it, run_id=other.id)) is None
