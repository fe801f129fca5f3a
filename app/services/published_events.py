"""Events from outside: published, with the runs that they start, and looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.services.aftermath import Aftermath
from app.services.auth import Caller
from app.services.once import Answered, Once, keep, recall
from engine.errors import Invalid
from engine.records import LIVES, RESERVED
from store import entity_types, publishing
from store import published as rows
from store.database import Database, Tx
from store.ids import new_id
from store.published import EventRow
from store.publishing import NewEvent, Verdicts
from store.runs import RunHead, RunRow

#: Runs that the page of an event shows.
SHOWN = 500


@dataclass(frozen=True)
class EventView:
    """An event and the runs that it has started, of which the first `SHOWN` are here."""

    row: EventRow
    runs: list[RunHead]


class Events:
    """The published events of every organisation, each through its callers."""

    def __init__(self, database: Database, aftermath: Aftermath) -> None:
        self._database = database
        self._aftermath = aftermath

    async def publish(
        self,
        caller: Caller,
        name: str,
        data: dict[str, Any],
        once: Once | None,
        answer: Callable[[EventRow], Answered],
    ) -> Answered:
        """Publish an event; answers once the runs that it starts are accepted and dispatched.

        Args:
            caller: whose event it is.
            name: any but those of what happens to records.
            data: what the event says.
            once: when given, the same key within 24 h publishes nothing and gets the first answer.
            answer: makes the answer of the event, which is kept with it.

        Raises:
            Invalid: the name belongs to records (`event_name_reserved`).
        """
        event_id = new_id()

        def work(tx: Tx, verdicts: Verdicts) -> tuple[Answered, list[RunRow]]:
            if earlier := recall(tx, caller.org_id, once):
                return earlier, []
            _require_free(tx, caller.org_id, name)
            depth = publishing.depth_of(tx, caller.org_id, once.key if once else None)
            event = NewEvent(name, data, depth=depth, id=event_id)
            runs = publishing.publish(tx, caller.org_id, [event], verdicts)
            answered = answer(rows.get(tx, caller.org_id, event.id))
            keep(tx, caller.org_id, once, answered)
            return answered, runs

        answered, runs = await publishing.publishing(self._database, work)
        await self._aftermath.follow(runs)
        return answered

    async def view(self, caller: Caller, event_id: str) -> EventView:
        """The event.

        Raises:
            NotFound: there is none of this id in the caller's organisation, or not any more.
        """

        def work(tx: Tx) -> EventView:
            row = rows.get(tx, caller.org_id, event_id)
            return EventView(row, rows.runs_of(tx, row.id, SHOWN))

        return await self._database.read(work)


def _require_free(tx: Tx, org_id: str, name: str) -> None:
    """Refuse names of what happens to records, so that nobody says what did not happen."""
    about, _, life = name.rpartition(".")
    told = about in RESERVED or (life in LIVES and entity_types.named_so(tx, org_id, about))
    if told or name.split(".")[0] in RESERVED:
        raise Invalid(
            f"'{name}' is published when that happens to a record, and by nobody else.",
            code="event_name_reserved",
        )
