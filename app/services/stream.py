"""Follows the event logs of runs for everybody who watches one.

One task per process asks the store, in one query, for the news of all watched runs, and hands them
to the watchers. A watcher first reads the past by itself and then takes from its queue what is
newer, so that it sees every event once and in order. One that does not keep up is dropped; it comes
back with the number of the last event that it has seen.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial

from app.services.auth import Caller
from app.services.door import Refused
from engine.errors import SignalboxError, Unavailable
from engine.lifecycle import TERMINAL, EventType
from store import events, runs
from store.database import Database
from store.events import EventRow
from store.runs import RunRow

log = logging.getLogger("signalbox.stream")

#: Watchers of one key at a time.
MOST_OF_A_KEY = 100
#: Events that wait for one watcher before it is dropped.
BACKLOG = 1_000
#: Seconds between two looks at whether a watcher may still watch.
RECHECK = 30.0
_PAGE = 500
#: Seconds after which the tail looks again although nobody has told it of a change.
_LOOK = 1.0


class Watcher:
    """One open stream of a run."""

    def __init__(self) -> None:
        self.dropped = False
        self._queue: asyncio.Queue[EventRow] = asyncio.Queue(BACKLOG)

    def offer(self, event: EventRow) -> None:
        """Hand over an event; the watcher is dropped when its queue is full."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped = True

    @property
    def idle(self) -> bool:
        """There is nothing to hand on."""
        return self._queue.empty()

    async def next(self, seconds: float) -> EventRow | None:
        """The next event, or None when none comes within this time."""
        try:
            return await asyncio.wait_for(self._queue.get(), seconds)
        except TimeoutError:
            return None


class Tail:
    """Everybody who watches runs in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: dict[str, set[Watcher]] = defaultdict(set)
        self._marks: dict[str, int] = {}
        self._of_key: dict[str, int] = defaultdict(int)
        self._watched = asyncio.Event()
        self._away = False

    def reserve(self, caller: Caller) -> None:
        """Refuse one watcher too many of a key, before its stream begins.

        Raises:
            Refused: 429.
        """
        if self._of_key[caller.key_id] >= MOST_OF_A_KEY:
            raise Refused(
                429, "too_many_streams", f"The key has {MOST_OF_A_KEY} open streams already."
            )

    async def follow(
        self, caller: Caller, run: RunRow, after: int
    ) -> AsyncGenerator[EventRow | None]:
        """Every event of the run beyond `after`; ends with the last one of a run that is over.

        Answers None every `RECHECK` seconds, so that whoever iterates can look at its key again.
        The run must have been found through the caller's organisation.
        """
        with self._counted(caller):
            async for event in self._follow(run, after):
                yield event

    @contextmanager
    def seat(self, caller: Caller) -> Iterator[None]:
        """Count the caller among those who watch, for as long as it waits for the end of a run.

        Raises:
            Refused: 429.
        """
        self.reserve(caller)
        with self._counted(caller):
            yield

    async def ended(self, run: RunRow) -> AsyncGenerator[None]:
        """Answers every `RECHECK` seconds, and ends when the run is over or cannot be followed."""
        async for event in self._follow(run, run.seq):
            if event is None:
                yield None

    async def _follow(self, run: RunRow, after: int) -> AsyncGenerator[EventRow | None]:
        run_id = run.id
        with self._watch(run) as watcher:
            seen = after
            async for past in self._past(run_id, after):
                seen = past.seq
                yield past
            loop = asyncio.get_running_loop()
            look_at = loop.time() + RECHECK
            over = await self._over(run_id, seen)
            while not over and not watcher.dropped:
                event = await watcher.next(max(look_at - loop.time(), 0))
                if event is None or loop.time() >= look_at:
                    look_at = loop.time() + RECHECK
                    yield None
                    over = event is None and await self._over(run_id, seen)
                if event is not None and event.seq > seen:
                    seen = event.seq
                    yield event
                    if event.type is EventType.RUN_COMPLETED and watcher.idle:
                        over = await self._over(run_id, seen)

    async def run(self) -> None:
        """Hand out the news of all watched runs, for ever."""
        while True:
            await self._watched.wait()
            try:
                full = await self._hand_out()
            except SignalboxError as error:
                self._note(error)
                await asyncio.sleep(_LOOK)
                continue
            self._note(None)
            if not full:
                await self._database.changed(_LOOK)

    @contextmanager
    def _counted(self, caller: Caller) -> Iterator[None]:
        self._of_key[caller.key_id] += 1
        try:
            yield
        finally:
            self._of_key[caller.key_id] -= 1
            if not self._of_key[caller.key_id]:
                del self._of_key[caller.key_id]

    @contextmanager
    def _watch(self, run: RunRow) -> Iterator[Watcher]:
        watcher, run_id = Watcher(), run.id
        self._watchers[run_id].add(watcher)
        # What is older is read by the watcher itself, after this.
        self._marks.setdefault(run_id, run.seq)
        self._watched.set()
        try:
            yield watcher
        finally:
            self._watchers[run_id].discard(watcher)
            if not self._watchers[run_id]:
                del self._watchers[run_id]
                del self._marks[run_id]
            if not self._watchers:
                self._watched.clear()

    async def _past(self, run_id: str, mark: int) -> AsyncGenerator[EventRow]:
        """What is in the log now, page by page until there is nothing left to read."""
        while True:
            page = await self._database.read(
                partial(events.after, marks={run_id: mark}, limit=_PAGE)
            )
            for event in page:
                yield event
            if len(page) < _PAGE:
                return
            mark = page[-1].seq

    async def _over(self, run_id: str, seen: int) -> bool:
        """Whether nothing more will come: the run is over, or gone, and everything was seen."""
        try:
            row = await self._database.read(lambda tx: runs.by_id(tx, run_id))
        except Unavailable:
            return False
        return row is None or (row.status in TERMINAL and row.seq <= seen)

    async def _hand_out(self) -> bool:
        """One look at all watched runs; True when there is more to read at once."""
        marks = dict(self._marks)
        news = await self._database.read(lambda tx: events.after(tx, marks, _PAGE))
        for event in news:
            if event.run_id not in self._marks:
                continue
            self._marks[event.run_id] = max(event.seq, self._marks[event.run_id])
            for watcher in self._watchers[event.run_id]:
                watcher.offer(event)
        return len(news) >= _PAGE

    def _note(self, error: SignalboxError | None) -> None:
        """One line when the database goes away and one when it is back."""
        if error is not None and not self._away:
            log.warning("streams stand still: %s", error.message)
        if error is None and self._away:
            log.info("streams go on")
        self._away = error is not None
