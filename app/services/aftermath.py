"""What follows from events once they are committed: runs are started, and steps go on.

Whoever has published says so after the commit. The sweeper does what was lost, of runs by itself
and of steps as a duty. Every telling may be repeated.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from app.services.dispatch import Dispatch, NotStarted
from engine.errors import Unavailable
from store import clock, wakes
from store.database import Database
from store.runs import RunRow
from store.wakes import Asleep

#: Microseconds that a wake-up may be on its way before it counts as lost.
UNWOKEN_FOR = 2_000_000
#: Waits told of in one go, and at the same time.
_BATCH = 200
_AT_ONCE = 20


class Aftermath:
    """Tells Temporal what the events of every organisation bring with them."""

    def __init__(self, database: Database, dispatch: Dispatch) -> None:
        self._database = database
        self._dispatch = dispatch
        self._news = asyncio.Event()

    async def follow(self, started: Sequence[RunRow]) -> bool:
        """Start the runs that events have started, and let steps that waited for them go on.

        Whether Temporal has taken all of the runs; the steps are told a moment later.
        """
        self._news.set()
        return await self._dispatch.attempt_all(started)

    async def run(self) -> None:
        """Tell steps for ever of what was published in this process; the sweeper tells the rest."""
        while True:
            await self._news.wait()
            self._news.clear()
            with suppress(Unavailable):
                while await self._pass(clock.now() + 1) == _BATCH:
                    pass

    async def sweep(self) -> None:
        """One pass over what was lost.

        Raises:
            Unavailable: the database or Temporal does not answer.
        """
        await self._pass(clock.now() - UNWOKEN_FOR)

    async def _pass(self, before: int) -> int:
        """Wake some whose event came before this time; how many."""
        asleep = await self._database.read(partial(wakes.unwoken, before=before, limit=_BATCH))
        for start in range(0, len(asleep), _AT_ONCE):
            batch = asleep[start : start + _AT_ONCE]
            await asyncio.gather(*map(self._signal, batch))
            await self._database.write(partial(wakes.woken, told=batch))
        return len(asleep)

    async def _signal(self, one: Asleep) -> None:
        if one.temporal_id is not None:
            try:
                await self._dispatch.wake(one.temporal_id, one.wake)
            except NotStarted:
                # Over, or on its way: its next execution asks by itself.
                return
