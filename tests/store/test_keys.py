"""API keys: kept as a hash, found by the whole key, gone when revoked or expired."""

from sqlalchemy import select, update

from engine.roles import Role
from store import keys
from store.clock import MINUTE, now
from store.database import Database, Tx
from store.keys import KeyRow
from store.tables import api_keys
from tests.store.world import World

PEPPER = b"pepper"


def change(tx: Tx, **columns: object) -> None:
    tx.execute(update(api_keys).values(**columns))


async def test_a_key_is_found_by_its_token(database: Database, world: World) -> None:
    token = keys.new_token()
    assert token.startswith("sb_")
    assert len(token) == 46
    made = await database.write(
        lambda tx: keys.add(tx, world.org, "ci", Role.RUNNER, token, PEPPER)
    )
    assert (made.id, made.org_id, made.name) == (keys.key_id(token), world.org, "ci")
    assert (made.role, made.last_used_at, made.revoked_at) == (Role.RUNNER, None, None)
    assert await find(database, token) == made
    assert await find(database, keys.new_token()) is None
    assert await find(database, "") is None
    assert await find(database, "\udc80 not UTF-8 ü") is None
    assert await database.read(lambda tx: keys.find(tx, token, b"other pepper")) is None


async def test_the_token_is_not_kept(database: Database, world: World) -> None:
    token = keys.new_token()
    await database.write(lambda tx: keys.add(tx, world.org, "ci", Role.ADMIN, token, PEPPER))
    row = await database.read(lambda tx: tx.execute(select(api_keys)).one())
    assert token not in str(row)
    assert row.digest == keys.digest(token, PEPPER)


async def test_the_same_token_is_one_key(database: Database, world: World) -> None:
    token = "a token that somebody chose, long enough"
    first = await database.write(
        lambda tx: keys.add(tx, world.org, "ci", Role.RUNNER, token, PEPPER)
    )
    again = await database.write(
        lambda tx: keys.add(tx, world.org, "other", Role.ADMIN, token, b"new pepper")
    )
    assert again == first
    assert await find(database, token) is None
    assert await database.read(lambda tx: keys.find(tx, token, b"new pepper")) == first


async def test_a_revoked_key_stays_revoked(database: Database, world: World) -> None:
    token = keys.new_token()

    def add(tx: Tx) -> KeyRow:
        return keys.add(tx, world.org, "ci", Role.ADMIN, token, PEPPER)

    key = await database.write(add)
    await database.write(lambda tx: keys.revoke(tx, world.org, key.id))
    assert await find(database, token) is None
    (listed,) = await database.read(lambda tx: keys.page(tx, world.org))
    await database.write(lambda tx: keys.revoke(tx, world.org, key.id))
    assert (await database.write(add)).revoked_at == listed.revoked_at is not None
    assert await find(database, token) is None


async def test_an_expired_key_is_not_found(database: Database, world: World) -> None:
    token = keys.new_token()
    await database.write(lambda tx: keys.add(tx, world.org, "ci", Role.ADMIN, token, PEPPER))
    await database.write(lambda tx: change(tx, expires_at=now() + MINUTE))
    assert await find(database, token) is not None
    await database.write(lambda tx: change(tx, expires_at=now()))
    assert await find(database, token) is None


async def test_use_is_noted_once_a_minute(database: Database, world: World) -> None:
    token = keys.new_token()
    key = await database.write(lambda tx: keys.add(tx, world.org, "ci", Role.ADMIN, token, PEPPER))

    async def touched() -> int | None:
        await database.write(lambda tx: keys.touch(tx, key.id))
        found = await find(database, token)
        assert found is not None
        return found.last_used_at

    first = await touched()
    assert first is not None
    assert await touched() == first
    await database.write(lambda tx: change(tx, last_used_at=first - 2 * MINUTE))
    again = await touched()
    assert again is not None
    assert again >= first


async def test_keys_are_listed_newest_first(database: Database, world: World) -> None:
    for name in ("first", "second", "third"):
        await database.write(
            lambda tx, name=name: keys.add(
                tx, world.org, name, Role.VIEWER, keys.new_token(), PEPPER
            )
        )
    listed = await database.read(lambda tx: keys.page(tx, world.org))
    assert [key.name for key in listed] == ["third", "second", "first"]


async def find(database: Database, token: str) -> KeyRow | None:
    return await database.read(lambda tx: keys.find(tx, token, PEPPER))
