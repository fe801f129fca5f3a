"""Batches as tests start them: a type of a test's own, its records, and a chain of steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import JsonValue

from engine.batch import LaneStatus
from engine.lifecycle import RunStatus
from store import batches, entities, entity_types, lanes
from store.batches import BatchRow, NewBatch
from store.database import Tx
from store.entities import EntityRow, new_entity
from store.entity_types import NewType, TypeRow
from store.lanes import LaneRow
from store.publishing import Verdicts
from store.runs import NewRun, RunRow
from tests.house import House

Step = dict[str, Any]
FIELDS: list[dict[str, JsonValue]] = [
    {"name": "Title", "type": "text", "slug": "title"},
    {"name": "Rank", "type": "number", "slug": "rank"},
]


@dataclass
class Batch:
    """A batch that a test has started."""

    house: House
    run_id: str
    entity_ids: list[str]

    async def row(self) -> BatchRow:
        found = await self.house.database.read(lambda tx: batches.get(tx, self.run_id))
        assert found is not None
        return found

    async def lanes(self) -> list[LaneRow]:
        rows, total = await self.house.database.read(
            lambda tx: lanes.page(tx, self.run_id, limit=100_000, offset=0)
        )
        assert total == len(self.entity_ids)
        assert [row.entity_id for row in rows] == self.entity_ids
        return rows

    async def entities(self) -> list[EntityRow]:
        def work(tx: Tx) -> list[EntityRow]:
            return [entities.get(tx, self.house.org, one) for one in self.entity_ids]

        return await self.house.database.read(work)

    async def until(self, *statuses: RunStatus) -> RunRow:
        """The run once it is over; what its counters say is what its lanes say."""
        run = await self.house.until(self.run_id, *statuses)
        row, rows = await self.row(), await self.lanes()
        found = [lane.status for lane in rows]
        counted = (found.count(LaneStatus.COMPLETED), found.count(LaneStatus.FAILED))
        assert (row.completed, row.failed, row.total) == (*counted, len(rows))
        if run.status in (RunStatus.COMPLETED, RunStatus.FAILED):
            assert row.open == 0
        return run


def chain(*steps: Step) -> list[Step]:
    """The steps, each after the one before it."""
    return [
        step | {"depends_on": [steps[place - 1]["id"]] if place else []}
        for place, step in enumerate(steps)
    ]


async def make(
    house: House, records: Sequence[dict[str, JsonValue]], fields: Any = None
) -> tuple[TypeRow, list[str]]:
    """A type of its own and records of it."""
    name = f"Article {uuid4().hex[:8]}"

    def work(tx: Tx) -> tuple[TypeRow, list[str]]:
        slug = name.lower().replace(" ", "-")
        kind = entity_types.create(
            tx, house.org, NewType(name, f"{name}s", slug, None, None, fields or FIELDS)
        )
        new = [new_entity(record) for record in records]
        entities.add(tx, kind, new, Verdicts())
        return kind, [one.id for one in new]

    return await house.database.write(work)


async def started(
    house: House,
    records: Sequence[dict[str, JsonValue]],
    *steps: Step,
    concurrency: int = 20,
    max_failures: int | None = None,
    on_budget: Any = "stop",
    input: dict[str, JsonValue] | None = None,
    fields: Any = None,
) -> Batch:
    """A batch of these steps over these records, on its way."""
    kind, ids = await make(house, records, fields)
    definition = {
        "name": f"Batch {uuid4().hex[:8]}",
        "entity_type": kind.id,
        "steps": chain(*steps),
    }
    workflow = await house.define(definition)
    run = NewRun(
        house.org,
        workflow.id,
        workflow.name,
        workflow.version,
        "entity_batches",
        "api",
        input or {},
    )
    batch = NewBatch(kind.id, ids, concurrency, max_failures, on_budget)
    row = await house.database.write(lambda tx: batches.accept(tx, run, batch))
    await house.dispatch(row)
    return Batch(house, row.id, ids)
