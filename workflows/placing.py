"""The place of one execution: given back while it only waits, and asked for when it goes on.

The row of the run has the truth and `facts.parked` what the execution knows of it. Where the two
differ because an answer was lost, no step begins (see `activities.perform`), and asking the ledger
sets it right. Source: DESIGN §3.3; decision 0010.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from engine.book import Place, PlaceCall, RunRef
    from engine.facts import Facts
    from engine.moves import Advance
    from engine.parking import park_at
    from workflows import dispatch

#: Seconds after which a run asks for a place again, should nobody have told it.
ASK_AGAIN = 3_600.0


class Placing:
    """Sees to the place of an execution.

    Attributes:
        given: somebody has told of a place, and it was not taken note of yet.
        over: the run is over, or another execution carries it out.
        since: when something last happened in the run (seconds since 1970).
    """

    def __init__(self, ref: RunRef) -> None:
        self.given = False
        self.over = False
        self.since = workflow.now().timestamp()
        self._ref = ref
        #: When a place was asked for in vain.
        self._asked_at: float | None = None

    async def see_to(self, facts: Facts, found: Advance) -> bool:
        """Give the place back or ask for one where it is time to; whether either was done.

        When neither was, `found` knows by when to look again.
        """
        now = workflow.now().timestamp()
        if not facts.parked:
            self.given, self._asked_at = False, None
            at = park_at(facts, now, self.since)
            if at is None or at > now:
                found.due(at)
                return False
            await self._call("park_run", facts)
            return True
        asked = self._asked_at is not None and now < self._asked_at + ASK_AGAIN
        if not self.given and (asked or not found.wanting):
            if found.wanting and self._asked_at is not None:
                found.due(self._asked_at + ASK_AGAIN)
            return False
        self.given = False
        self._asked_at = now if found.wanting else None
        await self._call("place_run", facts, wanted=found.wanting)
        return True

    async def _call(self, what: str, facts: Facts, *, wanted: bool = False) -> None:
        call = PlaceCall(**self._ref.model_dump(), parkings=facts.parkings, wanted=wanted)
        place = await dispatch.ledger(what, call, Place)
        facts.parked, facts.parkings = place.state != "held", place.parkings
        self.over = place.state == "over"
        if place.state == "stale":
            self._asked_at = None
