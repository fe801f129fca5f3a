"""The one door through which a step waits for an event."""

from functools import partial

from engine.call import StepCall
from engine.errors import Conflict, StepError
from engine.matching import Happening, Pin, Wanted
from store import published, waits
from store.database import Database, Tx
from store.waits import Cursor, WaitRow


class Waits:
    """The waits of the steps of every organisation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, call: StepCall, wanted: Wanted) -> Happening | None:
        """Begin to wait; the event, if it has come already. Repeating it changes nothing.

        Raises:
            StepError: `run_over`, and see `store.waits.begin`.
            Unavailable: the database does not answer.
        """
        try:
            wait = await self._database.write(lambda tx: waits.begin(tx, call, wanted))
        except Conflict as error:
            raise StepError("run_over", "The run is over.", retryable=False) from error
        if wait.event_id is None:
            await self._look_back(call, wait, wanted.pin)
        return await self._database.read(lambda tx: waits.matched(tx, call))

    async def look(self, call: StepCall) -> tuple[bool, Happening | None]:
        """Whether the step waits or has waited, and the event that has come.

        Raises:
            Unavailable: the database does not answer.
        """

        def work(tx: Tx) -> tuple[bool, Happening | None]:
            row = waits.find(tx, call)
            known = row is not None and row.generation == call.generation
            return known, waits.matched(tx, call)

        return await self._database.read(work)

    async def unjudged(self, call: StepCall) -> str | None:
        """For how many of the last events `match` could not be evaluated, and why; None for none.

        Raises:
            Unavailable: the database does not answer.
        """
        errors = await self._database.read(lambda tx: published.unjudged(tx, call))
        if not errors:
            return None
        which = "1 event" if len(errors) == 1 else f"{len(errors)} events"
        return f"{which} of this name: {errors[0]}"

    async def give_up(self, call: StepCall) -> Happening | None:
        """Wait no longer; the event, if it has come just in time.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._database.write(lambda tx: waits.give_up(tx, call))

    async def _look_back(self, call: StepCall, wait: WaitRow, pin: Pin | None) -> None:
        """Look for an event that came first; what comes meanwhile finds the wait by itself."""
        found: str | None = None
        cursor: Cursor | None = None
        while True:
            page = partial(waits.look_back, wait=wait, pin=pin, after=cursor)
            found, cursor = await self._database.read(page)
            if found is not None:
                ending = partial(waits.settle, call=call, event_id=found)
                await self._database.write(ending)
            if cursor is None:
                return
