"""Single flight: in one process a step is never under way twice.

A step that takes long is handed over from a local activity to an ordinary one while its request
goes on; the ordinary activity joins it here. The same holds when an activity's answer was lost and
it is asked for again while the first one is still busy. Source: `fast-lane.md`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from engine.call import StepCall
from engine.outcomes import Outcome


@dataclass
class Flight:
    """A step that is under way, and how many activities wait for it."""

    call: StepCall
    task: asyncio.Task[Outcome]
    waiting: int = 0


class Flights:
    """The steps under way in this process, by idempotency key."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def join(
        self, call: StepCall, carry_out: Callable[[StepCall], Coroutine[None, None, Outcome]]
    ) -> Flight:
        """The flight of this step: the one under way, or a new one.

        One that an execution has left behind which is over is ended before the next one's begins.
        """
        flight = self._flights.get(call.key)
        if flight is not None and not flight.task.done():
            if flight.call.n < call.n:
                flight.task.cancel()
                return self._begin(call, _after(flight.task, call, carry_out))
            if flight.call.attempt == call.attempt:
                return flight
        return self._begin(call, carry_out(call))

    def _begin(self, call: StepCall, work: Coroutine[None, None, Outcome]) -> Flight:
        flight = Flight(call, asyncio.create_task(work, name=call.key))
        self._flights[call.key] = flight
        flight.task.add_done_callback(lambda task: self._land(call.key, task))
        return flight

    def _land(self, key: str, task: asyncio.Task[Outcome]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        if not task.cancelled():
            # Nobody may be waiting any more; a failure is recorded in the row all the same.
            task.exception()

    def orphans(self) -> list[Flight]:
        """Flights that no activity waits for: handed over, and not joined (yet)."""
        return [flight for flight in self._flights.values() if not flight.waiting]

    async def close(self) -> None:
        """Cancel everything that is under way and wait for it to end."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _after(
    left: asyncio.Task[Outcome],
    call: StepCall,
    carry_out: Callable[[StepCall], Coroutine[None, None, Outcome]],
) -> Outcome:
    await asyncio.wait({left})
    return await carry_out(call)
