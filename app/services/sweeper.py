"""Does again what was lost between the store and Temporal.

One at a time over all API processes, under a lease in the store. Each pass dispatches what was
accepted and never started, repeats verbs and admissions that may not have been heard, compares
open runs with Temporal, and throws away old idempotency records. Every act may be repeated, and
none of them trusts that an earlier one happened. Source: DESIGN §3.2.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar
from uuid import uuid4

from app.services.dispatch import Dispatch, NotStarted
from engine.errors import SignalboxError, Unavailable
from store import clock, executions, idempotency, leases, places, runs
from store.database import Database, Tx
from store.places import Execution
from store.runs import RunRow

log = logging.getLogger("signalbox.sweeper")
T = TypeVar("T")

#: Seconds between two passes, and how long the lease of one holds.
PERIOD = 2.0
LEASE = 10
#: Microseconds that something may be under way before it counts as lost.
UNDISPATCHED_FOR = 3_000_000
INTENT_FOR = 2_000_000
OPEN_FOR = 10_000_000
#: Microseconds that an answer is remembered under its key.
REMEMBERED_FOR = 24 * 3_600_000_000
#: Things of one kind done in a pass, and at the same time.
_BATCH = 200
_AT_ONCE = 20
#: Open runs that a pass compares with Temporal: some ms of its processor each.
_COMPARED = 40
_PURGED = 500


class Sweeper:
    """The sweeper of this process; it works while it holds the lease.

    `duties` are what else there is to do in a pass.
    """

    def __init__(
        self,
        database: Database,
        dispatch: Dispatch,
        places: int,
        duties: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self._database = database
        self._dispatch = dispatch
        self._places = places
        self._duties = duties
        self._holder = uuid4().hex
        self._looked_at = ""
        self._away = False

    async def run(self) -> None:
        """Sweep for ever; an outage is one line in the log, and one when it is over."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.sweep()
                self._note(None)
            except SignalboxError as error:
                self._note(error)

    async def stop(self) -> None:
        """Let another process go on at once."""
        try:
            await self._database.write(lambda tx: leases.release(tx, "sweeper", self._holder))
        except Unavailable:
            log.info("the lease of the sweeper runs out by itself")

    async def sweep(self) -> bool:
        """One pass; False when another process holds the lease.

        Raises:
            Unavailable: the database or Temporal does not answer; the next pass tries again.
        """
        if not await self._hold():
            return False
        now = clock.now()
        await self._each(
            await self._database.read(
                partial(runs.undispatched, before=now - UNDISPATCHED_FOR, limit=_BATCH)
            ),
            self._dispatch.start,
        )
        await self._each(await self._database.read(self._intents), self._dispatch.carry_out)
        await self._database.write(partial(places.hand_on_all, limit=self._places))
        await self._admit(await self._database.read(partial(executions.admitted, limit=_BATCH)))
        await self._each(await self._open(now - OPEN_FOR), self._compare)
        await self._database.write(
            partial(idempotency.purge, before=now - REMEMBERED_FOR, limit=_PURGED)
        )
        for duty in self._duties:
            if await self._hold():
                await duty()
        return True

    async def _hold(self) -> bool:
        return await self._database.write(
            lambda tx: leases.take(tx, "sweeper", self._holder, LEASE)
        )

    def _intents(self, tx: Tx) -> list[RunRow]:
        before = clock.now() - INTENT_FOR
        return [run for run in runs.with_intent(tx, _BATCH) if run.updated_at < before]

    async def _open(self, before: int) -> list[RunRow]:
        """The next of the open runs, in a circle: one that only waits must not hide the others."""
        batch = await self._database.read(
            partial(runs.open_runs, updated_before=before, after=self._looked_at, limit=_COMPARED)
        )
        self._looked_at = batch[-1].id if len(batch) == _COMPARED else ""
        return batch

    async def _compare(self, run: RunRow) -> None:
        """Start an execution that Temporal has never seen; close one that ended behind our back."""
        try:
            ending = await self._dispatch.ended(run)
        except NotStarted:
            await self._dispatch.start(run)
            return
        if ending is None:
            return
        told = await self._database.write(
            lambda tx: executions.lost(
                tx, run.id, run.n, f"The execution was {ending} in Temporal.", self._places
            )
        )
        log.warning("run %s: execution %d was %s in Temporal", run.id, run.n, ending)
        await self._admit(told)

    async def _admit(self, admitted: Iterable[Execution]) -> None:
        await self._each(admitted, self._dispatch.admit)

    async def _each(self, things: Iterable[T], act: Callable[[T], Awaitable[None]]) -> None:
        """Act on all of them, some at a time, keeping the lease meanwhile."""
        batch = list(things)
        for start in range(0, len(batch), _AT_ONCE):
            if start and not await self._hold():
                return
            acts = (self._act(act, thing) for thing in batch[start : start + _AT_ONCE])
            for failure in await asyncio.gather(*acts, return_exceptions=True):
                if failure is not None:
                    raise failure

    async def _act(self, act: Callable[[T], Awaitable[None]], thing: T) -> None:
        try:
            await act(thing)
        except NotStarted:
            log.debug("Temporal has not got it (any more); the comparison will say why")

    def _note(self, error: SignalboxError | None) -> None:
        if error is not None and not self._away:
            log.warning("the sweeper waits: %s", error.message)
        if error is None and self._away:
            log.info("the sweeper goes on")
        self._away = error is not None
