"""Windows of lanes as Temporal's activity, apart from what lanes do."""

import asyncio
from typing import Any, cast

from temporalio.testing import ActivityEnvironment

from activities.doing import Desk
from activities.registry import catalog
from activities.secrets import Vault
from activities.windows import Windows
from engine.batch import WindowCall
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
