"""Secrets: sealed in the table, opened for their organisation and name, listed without values."""

import os

import pytest
from sqlalchemy import select, update

from engine.errors import NotFound
from store import organisations, secrets
from store.database import Database
from store.sealing import Keyring, key_id
from store.tables import secrets as table
from tests.store.world import World

ONE, TWO = os.urandom(32), os.urandom(32)
RING = Keyring([ONE])


async def put(database: Database, org: str, name: str, value: str, ring: Keyring = RING) -> bool:
    return (await database.write(lambda tx: secrets.put(tx, org, name, value, ring)))[1]


async def values(
    database: Database, org: str, *names: str, ring: Keyring = RING
) -> tuple[dict[str, str], list[str]]:
    return await database.read(lambda tx: secrets.values(tx, org, names, ring))


async def test_what_is_kept_is_found_by_its_names_alone(database: Database, world: World) -> None:
    for name in ("A", "B", "C"):
        assert await put(database, world.org, name, f"value of {name} ü")
    found = await values(database, world.org, "A", "C", "GONE")
    assert found == ({"A": "value of A ü", "C": "value of C ü"}, [])
    assert await values(database, world.org) == ({}, [])


async def test_the_table_holds_no_value(database: Database, world: World) -> None:
    await put(database, world.org, "A", "in the clear")
    row = await database.read(lambda tx: tx.execute(select(table)).one())
    assert b"in the clear" not in bytes(row.ciphertext)
    assert "in the clear" not in str(row)
    assert row.key_id == key_id(ONE)


async def test_a_second_value_replaces_the_first(database: Database, world: World) -> None:
    first, new = await database.write(lambda tx: secrets.put(tx, world.org, "A", "one", RING))
    assert new
    second, new = await database.write(lambda tx: secrets.put(tx, world.org, "A", "two", RING))
    assert not new
    assert second.created_at == first.created_at < second.updated_at
    assert (await values(database, world.org, "A"))[0] == {"A": "two"}


async def test_organisations_do_not_see_each_other(database: Database, world: World) -> None:
    other = await database.write(lambda tx: organisations.ensure(tx, "other"))
    await put(database, world.org, "A", "ours")
    await put(database, other, "A", "theirs")
    assert (await values(database, other, "A"))[0] == {"A": "theirs"}
    await database.write(lambda tx: secrets.remove(tx, other, "A"))
    assert (await values(database, world.org, "A"))[0] == {"A": "ours"}
    with pytest.raises(NotFound) as caught:
        await database.write(lambda tx: secrets.remove(tx, other, "A"))
    assert caught.value.stable_code == "secret_not_found"


async def test_a_row_that_was_copied_does_not_open(database: Database, world: World) -> None:
    other = await database.write(lambda tx: organisations.ensure(tx, "other"))
    await put(database, world.org, "A", "ours")
    for org, name in ((other, "A"), (world.org, "B")):
        await put(database, org, name, "theirs")
        ours = await database.read(
            lambda tx: tx.scalar(
                select(table.c.ciphertext).where(table.c.org_id == world.org, table.c.name == "A")
            )
        )
        await database.write(
            lambda tx, org=org, name=name, ours=ours: tx.execute(
                update(table)
                .where(table.c.org_id == org, table.c.name == name)
                .values(ciphertext=ours)
            )
        )
        assert await values(database, org, name) == ({}, [name])


async def test_pages_are_by_name(database: Database, world: World) -> None:
    for name in ("c", "B", "a", "_d"):
        await put(database, world.org, name, "x")
    rows, total = await database.read(lambda tx: secrets.page(tx, world.org, limit=2, offset=1))
    every, _ = await database.read(lambda tx: secrets.page(tx, world.org, limit=9, offset=0))
    assert total == 4
    assert {row.name for row in every} == {"c", "B", "a", "_d"}
    assert rows == every[1:3]


async def test_keys_are_rotated(database: Database, world: World) -> None:
    both, new, lost = Keyring([TWO, ONE]), Keyring([TWO]), Keyring([os.urandom(32)])
    await put(database, world.org, "OLD", "old")
    await put(database, world.org, "NEW", "new", both)
    await put(database, world.org, "LOST", "lost", lost)
    names = ("OLD", "NEW", "LOST")
    assert await values(database, world.org, *names, ring=both) == (
        {"OLD": "old", "NEW": "new"},
        ["LOST"],
    )
    assert await database.write(lambda tx: secrets.reseal(tx, both)) == (1, 1)
    assert await database.write(lambda tx: secrets.reseal(tx, both)) == (0, 1)
    assert (await values(database, world.org, *names, ring=new))[0] == {"OLD": "old", "NEW": "new"}
