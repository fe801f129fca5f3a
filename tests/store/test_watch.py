"""Waiting for a commit, whichever process makes it."""

import asyncio

import pytest

from engine.lifecycle import EventType
from store import events
from store.database import Database
from store.events import NewEvent
from tests.store.world import World, other_process

STARTED = NewEvent(EventType.RUN_STARTED)


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


async def test_it_wakes_when_another_process_commits(
    database: Database, url: str, world: World
) -> None:
    run = await database.write(world.run)
    await _settle(database)
    other = asyncio.create_task(other_process("append", url, run.id, 1))
    async with asyncio.timeout(60):
        await database.changed(120)
        while not await database.read(lambda tx: events.after(tx, {run.id: 1})):
            await database.changed(120)
        await other


async def test_it_waits_no_longer_than_it_was_told(database: Database, world: World) -> None:
    await _settle(database)
    async with asyncio.timeout(30):
        await database.changed(0.2)
        await database.changed(0)


async def test_it_waits_while_nothing_happens(database: Database, world: World) -> None:
    await _settle(database)
    waiting = asyncio.create_task(database.changed(60))
    await database.read(lambda tx: events.after(tx, {"no such run": 0}))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    waiting.cancel()


async def test_the_first_call_answers_at_once(database: Database) -> None:
    async with asyncio.timeout(30):
        await database.changed(60)


async def test_a_commit_between_two_calls_is_not_missed(database: Database, world: World) -> None:
    run = await database.write(world.run)
    await _settle(database)
    await database.write(lambda tx: events.append(tx, run.id, [STARTED]))
    async with asyncio.timeout(30):
        await database.changed(60)


async def test_a_cancelled_wait_leaves_the_watch_whole(database: Database, world: World) -> None:
    run = await database.write(world.run)
    await _settle(database)
    waiting = asyncio.create_task(database.changed(60))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await database.write(lambda tx: events.append(tx, run.id, [STARTED]))
    async with asyncio.timeout(30):
        await database.changed(60)


async def _settle(database: Database) -> None:
    """Let the watch begin, and learn of all that was committed before."""
    async with asyncio.timeout(30):
        await database.changed(60)
    await database.changed(0.2)
    await database.changed(0.2)
