"""Whether this process could serve a run from end to end."""

import asyncio
from dataclasses import dataclass

from app.services.dispatch import Dispatch
from engine.errors import Unavailable
from store import clock, workers
from store.database import Database

#: Seconds that a check may take.
PATIENCE = 2.0
#: Microseconds since a worker's last sign of life.
WORKER_SEEN = 10_000_000


@dataclass(frozen=True)
class Report:
    """What answers and what does not."""

    database: bool
    temporal: bool
    worker: bool

    @property
    def ready(self) -> bool:
        """Everything does."""
        return self.database and self.temporal and self.worker


class Health:
    """Looks at what this process depends on."""

    def __init__(self, database: Database, dispatch: Dispatch) -> None:
        self._database = database
        self._dispatch = dispatch

    async def report(self) -> Report:
        """Look at everything at the same time."""
        (database, worker), temporal = await asyncio.gather(
            self._store(), self._dispatch.reachable(PATIENCE)
        )
        return Report(database=database, temporal=temporal, worker=worker)

    async def _store(self) -> tuple[bool, bool]:
        """Whether the database answers, and whether a worker has been seen in it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._database.ping()
                seen = await self._database.read(
                    lambda tx: workers.seen_since(tx, clock.now() - WORKER_SEEN)
                )
        except (Unavailable, TimeoutError):
            return False, False
        return True, seen > 0
