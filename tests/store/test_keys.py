"""API keys: kept as a hash, found by the whole key, gone when revoked or expired."""

import asyncio
import re

import pytest
from sqlalchemy import select, update

from engine.errors import Conflict, NotFound, SignalboxError
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
    ((listed,), _) = await database.read(lambda tx: keys.page(tx, world.org))
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
    listed, total = await database.read(lambda tx: keys.page(tx, world.org))
    assert ([key.name for key in listed], total) == (["third", "second", "first"], 3)
    listed, total = await database.read(lambda tx: keys.page(tx, world.org, limit=1, offset=1))
    assert ([key.name for key in listed], total) == (["second"], 3)


def made(
    tx: Tx, org: str, name: str = "ci", role: Role = Role.ADMIN, expires_at: int | None = None
) -> KeyRow:
    return keys.add(tx, org, name, role, keys.new_token(), PEPPER, expires_at=expires_at)


async def test_a_key_has_one_reason_why_it_was_revoked(database: Database, world: World) -> None:
    key = await database.write(lambda tx: made(tx, world.org))
    for reason in ("it leaked", "another"):
        row = await database.write(
            lambda tx, reason=reason: keys.revoke(tx, world.org, key.id, reason=reason)
        )
        assert row.revoked_reason == "it leaked"
    assert await database.read(lambda tx: keys.get(tx, world.org, key.id)) == row


async def test_another_organisation_s_key_is_unknown(database: Database, world: World) -> None:
    key = await database.write(lambda tx: made(tx, world.org))
    theirs, token = world.other_org, keys.new_token()
    with pytest.raises(NotFound) as got:
        await database.read(lambda tx: keys.get(tx, theirs, key.id))
    with pytest.raises(NotFound) as revoked:
        await database.write(lambda tx: keys.revoke(tx, theirs, key.id))
    with pytest.raises(NotFound) as rotated:
        await database.write(lambda tx: keys.rotate(tx, theirs, key.id, token, PEPPER))
    with pytest.raises(NotFound) as unknown:
        await database.read(lambda tx: keys.get(tx, theirs, "0" * 16))
    assert {str(one.value) for one in (got, revoked, rotated, unknown)} == {str(unknown.value)}
    assert await database.read(lambda tx: keys.get(tx, world.org, key.id)) == key


async def test_the_last_admin_key_is_spared(database: Database, world: World) -> None:
    def prepare(tx: Tx) -> list[KeyRow]:
        made(tx, world.other_org)
        made(tx, world.org, role=Role.EDITOR)
        made(tx, world.org, expires_at=now())
        keys.revoke(tx, world.org, made(tx, world.org).id)
        return [made(tx, world.org), made(tx, world.org, expires_at=now() + MINUTE)]

    first, second = await database.write(prepare)

    def revoke(tx: Tx, key: KeyRow) -> KeyRow:
        return keys.revoke(tx, world.org, key.id, spare_admin=True)

    await database.write(lambda tx: revoke(tx, second))
    with pytest.raises(Conflict, match="last admin key") as refused:
        await database.write(lambda tx: revoke(tx, first))
    assert refused.value.stable_code == "last_admin_key"
    assert (await database.write(lambda tx: revoke(tx, second))).revoked_at is not None
    assert (await database.read(lambda tx: keys.get(tx, world.org, first.id))).revoked_at is None


async def test_two_who_revoke_each_other_do_not_both_win(database: Database, world: World) -> None:
    pair = await database.write(lambda tx: [made(tx, world.org), made(tx, world.org)])
    ends = await asyncio.gather(
        *(
            database.write(lambda tx, key=key: keys.revoke(tx, world.org, key.id, spare_admin=True))
            for key in pair
        ),
        return_exceptions=True,
    )
    assert sorted(isinstance(end, SignalboxError) for end in ends) == [False, True]


async def test_a_rotated_key_goes_on_under_another_token(database: Database, world: World) -> None:
    expires = now() + MINUTE
    old_token, token = keys.new_token(), keys.new_token()
    old = await database.write(
        lambda tx: keys.add(tx, world.org, "ci", Role.RUNNER, old_token, PEPPER, expires_at=expires)
    )
    new = await database.write(
        lambda tx: keys.rotate(tx, world.org, old.id, token, PEPPER, rotated_by=old.id)
    )
    once = re.compile(r"ci \(rotated 2\d{3}-\d{2}-\d{2}\)")
    assert once.fullmatch(new.name)
    assert (new.role, new.expires_at, new.created_by) == (Role.RUNNER, expires, old.id)
    assert await find(database, token) == new
    assert await find(database, old_token) is None
    gone = await database.read(lambda tx: keys.get(tx, world.org, old.id))
    assert (gone.name, gone.revoked_reason) == ("ci", f"rotated to {new.id}")

    again = await database.write(
        lambda tx: keys.rotate(tx, world.org, new.id, keys.new_token(), PEPPER)
    )
    assert once.fullmatch(again.name), "the day of the latest rotation, not one for each"


async def test_a_long_name_keeps_its_beginning(database: Database, world: World) -> None:
    key = await database.write(lambda tx: made(tx, world.org, "n" * keys.LONGEST_NAME))
    row = await database.write(
        lambda tx: keys.rotate(tx, world.org, key.id, keys.new_token(), PEPPER)
    )
    assert len(row.name) == keys.LONGEST_NAME
    assert row.name.startswith("nnn")
    assert row.name.endswith(")")


async def test_what_lets_nobody_in_is_not_rotated(database: Database, world: World) -> None:
    def prepare(tx: Tx) -> list[KeyRow]:
        revoked, expired = made(tx, world.org), made(tx, world.org, expires_at=now())
        return [keys.revoke(tx, world.org, revoked.id), expired]

    for key in await database.write(prepare):
        with pytest.raises(Conflict) as refused:
            await database.write(
                lambda tx, key=key: keys.rotate(tx, world.org, key.id, keys.new_token(), PEPPER)
            )
        assert refused.value.stable_code == "api_key_not_active"
    assert (await database.read(lambda tx: keys.page(tx, world.org)))[1] == 2


async def find(database: Database, token: str) -> KeyRow | None:
    return await database.read(lambda tx: keys.find(tx, token, PEPPER))
