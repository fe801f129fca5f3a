"""Tells executions that the event which a step of theirs waits for has come.

Whoever has published one asks for it after the commit; as a duty of the sweeper it is done again
for what was lost. Every telling may be repeated.
"""

import asyncio
from functools import partial

from app.services.dispatch import Dispatch, NotStarted
from engine.errors import Unavailable
from store import clock, wakes
from store.database import Database
from store.wakes import Asleep

#: Microseconds that a wake-up may be on its way before it counts as lost.
UNWOKEN_FOR = 2_000_000
#: Waits told of in one go, and at the same time.
_BATCH = 200
_AT_ONCE = 20


class Waking:
    """Wakes the steps of every organisation."""

    def __init__(self, database: Database, dispatch: Dispatch) -> None:
        self._database = database
        self._dispatch = dispatch

    async def tell(self, event_id: str) -> None:
        """Wake whoever this event has woken; the sweeper wakes the rest if Temporal is away.

        Raises:
            Unavailable: the database does not answer.
        """
        while asleep := await self._database.read(
            partial(wakes.unwoken, before=clock.now() + 1, limit=_BATCH, event_id=event_id)
        ):
            try:
                await self._wake(asleep)
            except Unavailable:
                return

    async def sweep(self) -> None:
        """One pass over what was lost.

        Raises:
            Unavailable: the database or Temporal does not answer.
        """
        before = clock.now() - UNWOKEN_FOR
        await self._wake(
            await self._database.read(partial(wakes.unwoken, before=before, limit=_BATCH))
        )

    async def _wake(self, asleep: list[Asleep]) -> None:
        for start in range(0, len(asleep), _AT_ONCE):
            batch = asleep[start : start + _AT_ONCE]
            await asyncio.gather(*map(self._signal, batch))
            await self._database.write(partial(wakes.woken, told=batch))

    async def _signal(self, one: Asleep) -> None:
        if one.temporal_id is not None:
            try:
                await self._dispatch.wake(one.temporal_id, one.wake)
            except NotStarted:
                # Over, or on its way: its next execution asks by itself.
                return
