"""Buckets: found by id and by name, each organisation's own."""

import pytest

from engine.bucket import Bucket, bucket_of
from engine.errors import Conflict, NotFound
from store import buckets
from store.buckets import BucketRow
from store.database import Database, Tx
from tests.store.world import World

FILES = bucket_of("file", {"prefix": "a/b"}, "config")
STORE = bucket_of(
    "s3",
    {"bucket": "pages", "region": "eu-1", "accessKeyId": "A", "secretAccessKey": "B"},
    "config",
)


async def make(
    database: Database, org: str, name: str = "one", bucket: Bucket = STORE
) -> BucketRow:
    return await database.write(lambda tx: buckets.create(tx, org, name, bucket))


async def test_a_bucket_is_what_it_was_made_as(database: Database, world: World) -> None:
    for name, bucket in (("one", STORE), ("two", FILES)):
        made = await make(database, world.org, name, bucket)
        assert (made.org_id, made.name, made.bucket) == (world.org, name, bucket)

        def found(tx: Tx, made: BucketRow = made) -> list[BucketRow]:
            return [buckets.find(tx, world.org, named) for named in (made.id, made.name)]

        assert await database.read(found) == [made, made]
        with pytest.raises(NotFound):
            await database.read(lambda tx, id=made.id: buckets.find(tx, world.other_org, id))


async def test_an_id_goes_before_a_name(database: Database, world: World) -> None:
    first = await make(database, world.org)
    await make(database, world.org, first.id)
    assert await database.read(lambda tx: buckets.find(tx, world.org, first.id)) == first


async def test_a_name_is_one_bucket_s(database: Database, world: World) -> None:
    await make(database, world.org, "a")
    other = await make(database, world.org, "b")
    await make(database, world.other_org, "a")
    with pytest.raises(Conflict, match="already"):
        await make(database, world.org, "a")
    with pytest.raises(Conflict, match="already"):
        await database.write(lambda tx: buckets.replace(tx, world.org, other.id, "a", FILES))
    now = await database.write(lambda tx: buckets.replace(tx, world.org, other.id, "c", FILES))
    assert (now.id, now.name, now.bucket, now.created_at) == (
        other.id,
        "c",
        FILES,
        other.created_at,
    )


async def test_pages_and_what_is_gone(database: Database, world: World) -> None:
    made = [await make(database, world.org, name) for name in "cab"]
    await make(database, world.other_org)
    page = await database.read(lambda tx: buckets.page(tx, world.org, limit=2, offset=1))
    assert page == ([made[2], made[0]], 3)
    for org in (world.other_org, world.org):
        if org == world.org:
            await database.write(lambda tx: buckets.remove(tx, world.org, made[0].id))
        with pytest.raises(NotFound):
            await database.write(lambda tx, org=org: buckets.remove(tx, org, made[0].id))
        with pytest.raises(NotFound):
            await database.write(
                lambda tx, org=org: buckets.replace(tx, org, made[0].id, "x", FILES)
            )
