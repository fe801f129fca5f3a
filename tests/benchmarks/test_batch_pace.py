"""How many entities a second go through a batch whose steps decide only."""

import time

import pytest
from pydantic import JsonValue

from engine.lifecycle import RunStatus
from tests.house import House
from tests.workflow.batching import started

ENTITIES = 20_000


@pytest.mark.benchmark
async def test_entities_a_second(house: House) -> None:
    records: list[dict[str, JsonValue]] = [
        {"rank": n} if n % 10 == 9 else {"rank": n, "title": f"Article {n}"}
        for n in range(ENTITIES)
    ]
    began = time.monotonic()
    batch = await started(
        house,
        records,
        {
            "id": "titled",
            "type": "validate",
            "config": {"rules": [{"field": "title", "rule": "required"}]},
        },
        {
            "id": "shouted",
            "type": "transform",
            "config": {"transforms": [{"field": "title", "transform": "uppercase"}]},
        },
        {
            "id": "low",
            "type": "condition",
            "config": {"expression": "entity.fields.rank < 1000000"},
        },
    )
    accepted = time.monotonic()
    run = await house.until(batch.run_id, patience=600)
    took = time.monotonic() - accepted
    assert run.status is RunStatus.COMPLETED
    row = await batch.row()
    assert (row.completed, row.failed) == (ENTITIES * 9 // 10, ENTITIES // 10)
    print(f"made and accepted in {accepted - began:.1f} s")
    print(f"{ENTITIES} entities in {took:.1f} s: {ENTITIES / took:.0f} a second")
