"""Windows of lanes and their logs, apart from what lanes do."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.doing import Desk
from activities.lane_log import LaneLog
from activities.registry import catalog
from activities.secrets import Vault
from activities.windows import Windows
from engine.batch import LaneStatus, WindowCall
from engine.errors import Unavailable
from store.lanes import LaneRow, Move
from store.sealing import Keyring


class Silent:
    """A database that does not answer, and does not say so either."""

    async def read(self, _work: Any) -> Any:
        await asyncio.Event().wait()

    write = read


async def test_a_silent_database_does_not_make_the_worker_look_lost() -> None:
    database = cast(Any, Silent())
    desk = Desk(database, cast(Any, None), Vault(database, Keyring.parse("")), "worker")
    windows = Windows(desk, cast(Any, None), catalog(), {}, cast(Any, None))
    environment, beats = ActivityEnvironment(), asyncio.Semaphore(0)
    environment.on_heartbeat = lambda *_: beats.release()
    call = WindowCall(run="0" * 32, n=1, window=0, at_once=1)
    task = asyncio.create_task(environment.run(windows.perform_lanes, call))
    async with asyncio.timeout(60):
        for _ in range(3):
            await beats.acquire()
    environment.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


class Slow:
    """A database that writes when it is told to, and then has started a run."""

    def __init__(self) -> None:
        self.written = asyncio.Event()

    async def write(self, _work: Any) -> Any:
        await self.written.wait()
        return SimpleNamespace(halted=False), [SimpleNamespace()]


class Away:
    """Temporal's door, whose database has gone away."""

    async def dispatch(self, _run: Any) -> None:
        raise Unavailable


def move() -> Move:
    row = LaneRow(0, "e" * 32, LaneStatus.RUNNING, None, {}, "a", 1, None, [], None, 1, None)
    return Move(row)


async def test_what_is_written_stays_although_nothing_can_be_started() -> None:
    database = Slow()
    database.written.set()
    log = LaneLog(cast(Any, database), cast(Any, Away()), cast(Any, SimpleNamespace(id="r")))
    async with log.opened(), asyncio.timeout(60):
        await log.put(move())
    assert not log.broken


async def test_who_is_cancelled_leaves_what_it_has_done_to_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait, waits = asyncio.wait, list[Any]()

    async def counted(*args: Any, **options: Any) -> Any:
        waits.append(args)
        return await wait(*args, **options)

    monkeypatch.setattr(asyncio, "wait", counted)
    database = Slow()
    log = LaneLog(cast(Any, database), cast(Any, Away()), cast(Any, SimpleNamespace(id="r")))
    async with log.opened(), asyncio.timeout(60):
        putting = asyncio.create_task(log.put(move()))
        await asyncio.sleep(0)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        draining = asyncio.create_task(log.drain())
        for _ in range(100):
            await asyncio.sleep(0.001)
        # Once for each of its states, and not all the time.
        assert len(waits) <= 2
        assert not draining.done()
        database.written.set()
        await draining
