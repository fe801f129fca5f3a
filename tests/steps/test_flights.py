"""A step is under way once in a process, and never for an execution that is over."""

import asyncio

import pytest

from activities.flights import Flights
from engine.call import StepCall
from engine.errors import StepError
from engine.outcomes import Done, Outcome


class Under:
    """A step that takes until it is let go, and remembers what was carried out."""

    def __init__(self) -> None:
        self.flights = Flights()
        self.begun: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []
        self.go_on = asyncio.Event()

    async def carry_out(self, call: StepCall) -> Outcome:
        mark = (call.n, call.attempt)
        self.begun.append(mark)
        try:
            await self.go_on.wait()
            return Done(output=call.n)
        finally:
            self.ended.append(mark)


def call(n: int = 1, attempt: int = 1) -> StepCall:
    return StepCall(run="ab", step="a", n=n, attempt=attempt)


async def test_whoever_asks_again_joins() -> None:
    step = Under()
    first = step.flights.join(call(), step.carry_out)
    await asyncio.sleep(0)
    assert step.flights.join(call(), step.carry_out) is first
    step.go_on.set()
    assert await first.task == Done(output=1)
    assert step.begun == [(1, 1)]


async def test_another_attempt_is_another_flight() -> None:
    step = Under()
    step.flights.join(call(), step.carry_out)
    second = step.flights.join(call(attempt=2), step.carry_out)
    step.go_on.set()
    assert await second.task == Done(output=1)
    assert step.begun == [(1, 1), (1, 2)]


async def test_what_an_execution_left_behind_is_ended_first() -> None:
    """Otherwise a resumed run would hear that it is over."""
    step = Under()
    left = step.flights.join(call(), step.carry_out)
    await asyncio.sleep(0)
    mine = step.flights.join(call(n=2), step.carry_out)
    assert step.flights.join(call(n=2), step.carry_out) is mine
    step.go_on.set()
    assert await mine.task == Done(output=2)
    with pytest.raises(asyncio.CancelledError):
        await left.task
    assert (step.begun, step.ended) == ([(1, 1), (2, 1)], [(1, 1), (2, 1)])


async def test_a_failure_is_that_of_everybody_who_waits() -> None:
    async def fails(call: StepCall) -> Outcome:
        raise StepError("bad", "Bad.")

    flights = Flights()
    flight = flights.join(call(), fails)
    with pytest.raises(StepError):
        await flight.task
    assert flights.orphans() == []
