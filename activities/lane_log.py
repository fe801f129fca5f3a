"""What the lanes of a window have done, written many at a time.

A lane that has to be sure waits until its move is committed; the others go on. The moves of one
transaction are those that came while the one before it was under way.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from functools import partial

from activities.clients.runs import Runs
from activities.doing import RunClosedError
from engine.errors import Conflict, Unavailable
from store import lanes
from store.batches import BatchRow
from store.database import Database, Tx
from store.lanes import Move
from store.publishing import Verdicts, publishing
from store.runs import RunRow

#: Seconds for which moves are gathered, and how many are written together at most.
_GATHER = 0.02
_MOST = 200

_log = logging.getLogger(__name__)


class UnwrittenError(Exception):
    """What lanes have done could not be written; why is in the worker's log."""


class LaneLog:
    """The log of one window, while the block of `opened` lasts.

    Attributes:
        halted: the batch has used up its budget of failures.
        over: the run is over, or another execution carries it out.
        broken: the database has refused what was to be written, so that nothing more is.
    """

    def __init__(self, database: Database, runs: Runs, run: RunRow) -> None:
        self.halted = False
        self.over = False
        self.broken = False
        self._database = database
        self._runs = runs
        self._run = run
        self._queue: list[tuple[Move, asyncio.Future[None]]] = []
        self._news = asyncio.Event()
        self._writing: list[tuple[Move, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator["LaneLog", None]:
        """Write until the block is left; who leaves it in peace waits for the rest before."""
        writer = asyncio.create_task(self._write())
        try:
            yield self
        finally:
            writer.cancel()
            await asyncio.wait({writer})

    async def put(self, move: Move) -> None:
        """Write the move, and wait until it is committed.

        Raises:
            RunClosedError: the run is past this.
            UnwrittenError: it cannot be written.
        """
        await asyncio.shield(self._add(move))

    async def note(self, move: Move) -> None:
        """Have the move written soon; waits only while there is too much to write.

        Raises:
            RunClosedError: the run is past this.
            UnwrittenError: it cannot be written.
        """
        added = self._add(move)
        if len(self._queue) > _MOST:
            await asyncio.shield(added)

    async def drain(self) -> None:
        """Wait until everything is committed, or is of no use any more."""
        while self._queue or self._writing:
            waiting = [done for _, done in (*self._writing, *self._queue)]
            await asyncio.wait(waiting)

    def _add(self, move: Move) -> asyncio.Future[None]:
        if self.broken:
            raise UnwrittenError
        if self.over:
            raise RunClosedError
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nobody may wait for it.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._queue.append((move, done))
        self._news.set()
        return done

    async def _write(self) -> None:
        while True:
            await self._news.wait()
            if len(self._queue) < _MOST:
                await asyncio.sleep(_GATHER)
            self._writing, self._queue = self._queue[:_MOST], self._queue[_MOST:]
            if not self._queue:
                self._news.clear()
            refused = await self._refused([move for move, _ in self._writing])
            if self.broken:
                # Nobody would write the rest, and whoever waits for it would wait for ever.
                self._writing, self._queue = [*self._writing, *self._queue], []
            for _, done in self._writing:
                if not done.done():
                    if refused is None:
                        done.set_result(None)
                    else:
                        done.set_exception(refused)
            self._writing = []
            if self.broken:
                return

    async def _refused(self, moves: list[Move]) -> Exception | None:
        """Write moves; why they could not be written."""
        try:
            await self._commit(moves)
        except Conflict:
            self.over = True
            return RunClosedError()
        except Exception:
            _log.exception("batch %s: what its lanes have done cannot be written", self._run.id)
            self.broken = True
            return UnwrittenError()
        return None

    async def _commit(self, moves: list[Move]) -> None:
        run = self._run

        def work(tx: Tx, verdicts: Verdicts) -> tuple[BatchRow, list[RunRow]]:
            return lanes.commit(tx, run.org_id, run.id, run.n, moves, verdicts, run.depth + 1)

        while True:
            try:
                batch, started = await publishing(self._database, work)
                break
            except Unavailable:
                _log.warning("batch %s waits for the database", run.id)
                await asyncio.sleep(1)
        self.halted |= batch.halted
        await asyncio.gather(*map(self._start, started))

    async def _start(self, run: RunRow) -> None:
        # What was written stays; the sweeper starts whatever is not started here.
        with contextlib.suppress(Unavailable):
            await self._runs.dispatch(run)

    async def tell(self, first: int, size: int, since: int) -> None:
        """Write the event of the window, unless the run is past it."""
        run = self._run
        work = partial(lanes.tell, run_id=run.id, n=run.n, first=first, size=size, since=since)
        with contextlib.suppress(Conflict):
            await self._database.write(work)
