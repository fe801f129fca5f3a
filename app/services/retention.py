"""Lets go of what is too old: published events, and deleted records that nobody restored.

A duty of the sweeper; each pass takes a bounded number of each.
"""

from functools import partial

from store import clock, entities, published
from store.database import Database

#: Rows of one kind that go in a pass.
_PURGED = 500


class Retention:
    """What is kept for how long; `event_days` is for published events."""

    def __init__(self, database: Database, event_days: int) -> None:
        self._database = database
        self._events_for = event_days * clock.DAY

    async def sweep(self) -> None:
        """One pass.

        Raises:
            Unavailable: the database does not answer.
        """
        now = clock.now()
        await self._database.write(
            partial(published.purge, before=now - self._events_for, limit=_PURGED)
        )
        await self._database.write(
            partial(entities.purge, before=now - entities.RESTORABLE, limit=_PURGED)
        )
