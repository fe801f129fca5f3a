"""Ways to carry out the lanes of a batch, each written by hand for Temporal and nothing else.

`python -m tests.benchmarks.lanes FILE` is a worker for all of them, set as Signalbox sets its own;
FILE is the SQLite database of the lanes, `TEMPORAL_ADDRESS` the server. What is done for a lane is
the same everywhere: three decisions and one row, committed together with those that wait with it.

    child        a workflow for each lane, with a local activity
    coroutine    lanes are coroutines of one workflow, with a local activity for each
    ordinary     the same with ordinary activities
    nested       a workflow for each window, which does with its lanes as `coroutine` does
    window       an ordinary activity for each window, which carries out all of its lanes
"""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker

QUEUE = "lanes"
#: Windows under way at the same time, where lanes are not workflows or coroutines themselves.
IN_FLIGHT = 4
#: Lanes of one execution, where each of them grows its history.
PER_EXECUTION = 500
#: Lanes of a window that are written at once.
CHUNK = 50
_TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class Plan:
    """Which way to go, for the lanes from `begin` to `end`, and how many at a time."""

    way: str
    begin: int
    end: int
    size: int

    def windows(self) -> list["Plan"]:
        return [
            replace(self, begin=begin, end=min(begin + self.size, self.end))
            for begin in range(self.begin, self.end, self.size)
        ]


def prepare(file: Path, lanes: int) -> None:
    """Make the database of the lanes, all of them pending."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE lanes (lane INTEGER PRIMARY KEY, status TEXT, output TEXT)"
        )
        connection.executemany(
            "INSERT INTO lanes VALUES (?, 'pending', NULL)", ((lane,) for lane in range(lanes))
        )


def completed(file: Path) -> int:
    with sqlite3.connect(file) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM lanes WHERE status = 'completed'"
        ).fetchone()
    return int(count)


def decide(lane: int) -> str:
    """Three decisions over what a lane knows, together about 0.1 ms; answers the row's output."""
    scope = {"entity": {"id": f"{lane:032x}", "fields": {f"f{n}": lane * n for n in range(20)}}}
    for step in ("check", "reshape", "branch"):
        known = json.loads(json.dumps(scope, sort_keys=True))
        scope[step] = {"output": sum(known["entity"]["fields"].values()) % 7 < 7}
    return json.dumps({step: scope[step] for step in ("check", "reshape", "branch")})


class Journal:
    """The rows of the lanes; those that wait while others are committed go with the next commit."""

    def __init__(self, file: str) -> None:
        self._connection = sqlite3.connect(file, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = FULL")
        self._waiting: list[tuple[str, int]] = []
        self._committing = asyncio.Lock()

    async def write(self, rows: Iterable[tuple[str, int]]) -> None:
        self._waiting.extend(rows)
        async with self._committing:
            taken, self._waiting = self._waiting, []
            if taken:
                await asyncio.to_thread(self._commit, taken)

    def _commit(self, rows: list[tuple[str, int]]) -> None:
        with self._connection:
            self._connection.executemany(
                "UPDATE lanes SET status = 'completed', output = ? WHERE lane = ?", rows
            )


class Activities:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @activity.defn
    async def lane(self, lane: int) -> None:
        await self._journal.write([(decide(lane), lane)])

    @activity.defn
    async def window(self, begin: int, end: int) -> None:
        for first in range(begin, end, CHUNK):
            rows = []
            for lane in range(first, min(first + CHUNK, end)):
                rows.append((decide(lane), lane))
                # Other windows and heartbeats have their turn between two lanes.
                await asyncio.sleep(0)
            await self._journal.write(rows)
            activity.heartbeat(first)


async def _local(lane: int) -> None:
    await workflow.execute_local_activity("lane", lane, start_to_close_timeout=_TIMEOUT)


async def _ordinary(lane: int) -> None:
    await workflow.execute_activity("lane", lane, start_to_close_timeout=_TIMEOUT)


async def _child(lane: int) -> None:
    await workflow.execute_child_workflow("Lane", lane, id=f"{workflow.info().workflow_id}/{lane}")


async def _nested(window: Plan) -> None:
    await workflow.execute_child_workflow(
        "Lanes", window, id=f"{workflow.info().workflow_id}/{window.begin}"
    )


async def _window(window: Plan) -> None:
    await workflow.execute_activity(
        "window",
        args=[window.begin, window.end],
        start_to_close_timeout=_TIMEOUT,
        heartbeat_timeout=timedelta(seconds=30),
    )


BY_LANE: dict[str, Callable[[int], Awaitable[None]]] = {
    "child": _child,
    "coroutine": _local,
    "ordinary": _ordinary,
}
BY_WINDOW: dict[str, Callable[[Plan], Awaitable[None]]] = {"nested": _nested, "window": _window}


@workflow.defn
class Lane:
    @workflow.run
    async def run(self, lane: int) -> None:
        await _local(lane)


@workflow.defn
class Lanes:
    """Carries out a plan; where each lane grows the history, it continues as new in time."""

    @workflow.run
    async def run(self, plan: Plan) -> None:
        if plan.way in BY_WINDOW:
            places = asyncio.Semaphore(IN_FLIGHT)

            async def in_turn(window: Plan) -> None:
                async with places:
                    await BY_WINDOW[plan.way](window)

            inner = [
                replace(one, way="coroutine") if plan.way == "nested" else one
                for one in plan.windows()
            ]
            await asyncio.gather(*(in_turn(one) for one in inner))
            return
        for window in plan.windows():
            if window.begin - plan.begin >= PER_EXECUTION:
                workflow.continue_as_new(replace(plan, begin=window.begin))
            await asyncio.gather(*map(BY_LANE[plan.way], range(window.begin, window.end)))


async def work(file: str) -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    activities = Activities(Journal(file))
    await Worker(
        client,
        task_queue=QUEUE,
        workflows=[Lanes, Lane],
        activities=[activities.lane, activities.window],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=200,
        max_concurrent_local_activities=400,
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(),
    ).run()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
