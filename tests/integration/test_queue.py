"""The queue, whatever is killed: never too many places, first in first out, and nobody is stuck.

Short runs, runs that wait for longer than a place is worth holding, and runs that wait for runs, in
an organisation of three places, while the worker is killed with -9 at random moments. What the
places did is computed from the log of events. `make test-slow` does it with 200 runs.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import events, organisations, runs
from store.database import Database, Tx
from store.events import EventRow
from store.runs import RunHead, Wanted
from tests import place_log
from tests.integration.site import Site
from tests.receiver import Receiver
from tests.workflow.definitions import Step, get, step

LIMIT = 3
#: Runs that a run of each kind becomes, itself included.
SIZES = {"short": 1, "waiting": 1, "parent": 2, "fan": 4, "grandparent": 3}


def definitions(receiver: Receiver) -> dict[str, list[Step]]:
    """What each kind of run does; a child is of the kind that its step names."""
    leaf = step("run_workflow", "leaf", workflow="short")
    return {
        "short": [get(receiver, "a", "/slow/0.2/short")],
        "waiting": [
            get(receiver, "a", "/before"),
            step("wait", "hold", "a", duration=11),
            get(receiver, "b", "/after", "hold"),
        ],
        "parent": [leaf, get(receiver, "b", "/parent", "leaf")],
        "fan": [
            step("loop", "each", items=[1, 2, 3], concurrency=2, steps=[leaf]),
            get(receiver, "b", "/fan", "each"),
        ],
        "grandparent": [
            step("run_workflow", "middle", workflow="parent"),
            get(receiver, "b", "/grandparent", "middle"),
        ],
    }


@dataclass(frozen=True)
class Load:
    """How many runs of each kind, and how often the worker is killed meanwhile."""

    runs: dict[str, int]
    kills: int
    seed: int
    patience: float

    @property
    def in_all(self) -> int:
        """Runs in the end, children included."""
        return sum(SIZES[kind] * count for kind, count in self.runs.items())


SMALL = Load({"short": 7, "waiting": 4, "parent": 2, "fan": 1, "grandparent": 1}, 1, 3, 90)
LARGE = Load({"short": 110, "waiting": 50, "parent": 20, "fan": 10, "grandparent": 10}, 8, 11, 400)


async def survive(directory: Path, receiver: Receiver, load: Load) -> place_log.Found:
    """Carry the load out, kill while it goes on, and look at what the log tells."""
    dice = random.Random(load.seed)
    async with Site(directory, limit=LIMIT) as site:
        named = {
            kind: await site.define({"name": kind, "steps": steps})
            for kind, steps in definitions(receiver).items()
        }
        order = [kind for kind, count in load.runs.items() for _ in range(count)]
        dice.shuffle(order)
        database = Database(site.database_url)
        try:
            starting = asyncio.create_task(start(site, [named[kind] for kind in order]))
            for _ in range(load.kills):
                await asyncio.sleep(dice.uniform(2, 8))
                site.kill("worker")
                await asyncio.sleep(dice.uniform(0, 2))
                site.start("worker")
            await starting
            rows = await ended(site, database, load)
            logs = {row.id: await log(database, row) for row in rows}
        finally:
            await database.close()
    assert Counter(row.status for row in rows) == {"completed": load.in_all}
    assert sum(row.parent_run_id is None for row in rows) == len(order)
    assert [row.id for row in rows if row.admitted or row.parked] == []
    # What was delivered twice carries the same key.
    expected = {"/before": "waiting", "/after": "waiting", "/fan": "fan", "/grand": "grandparent"}
    for path, kind in expected.items():
        assert len(receiver.keys(path)) == load.runs[kind]
    return place_log.read(rows, logs, LIMIT)


async def start(site: Site, workflow_ids: list[str]) -> None:
    """Start them in this order, a few at a time."""
    for i in range(0, len(workflow_ids), 10):
        await asyncio.gather(*(site.run(workflow) for workflow in workflow_ids[i : i + 10]))


async def ended(site: Site, database: Database, load: Load) -> list[RunHead]:
    """Every run, once as many are over as there have to be."""

    def look(tx: Tx) -> list[RunHead]:
        org_id = organisations.ensure(tx, "default")
        found: list[RunHead] = []
        while page := runs.page(tx, org_id, Wanted(), limit=200, offset=len(found))[0]:
            found += page
        return found

    rows: list[RunHead] = []
    try:
        async with asyncio.timeout(load.patience):
            while sum(row.status == "completed" for row in rows) < load.in_all:
                await asyncio.sleep(0.5)
                rows = await database.write(look)
                bad = [(row.id, row.error) for row in rows if row.status in ("failed", "cancelled")]
                assert bad == [], site.tail()
    except TimeoutError:
        open_ = [(row.workflow_name, row.id, row.status) for row in rows if not row.completed_at]
        raise AssertionError(f"stuck: {open_}; {site.tail()}") from None
    return rows


async def log(database: Database, row: RunHead) -> list[EventRow]:
    return await database.read(lambda tx: events.after(tx, {row.id: 0}, 10_000))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("load", [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large")])
async def test_places_are_held_by_three_at_most_and_in_order(
    tmp_path: Path, receiver: Receiver, load: Load
) -> None:
    found = await survive(tmp_path, receiver, load)
    print(f"{load}: {found.taken} places taken, {found.returned} of them by runs that came back")
    assert found.most == LIMIT
    assert found.passed_over == []
    assert found.held == set()
    # All that wait for runs have come back, and most of the others.
    assert found.returned >= sum(load.runs.values()) - load.runs["short"] - load.runs["waiting"]
