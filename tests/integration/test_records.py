"""Five hundred vendors in one call start exactly their runs, whatever is killed meanwhile."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.site import PATIENCE, Site

VENDORS = 500
#: Which of the workflows a vendor starts: conditions, status, and how many of the vendors do.
WORKFLOWS: list[tuple[Any, str, int]] = [
    ("entity.fields.tier == 'gold'", "active", VENDORS // 2),
    (
        {
            "combiner": "all",
            "children": [
                {"rule_type": "field", "path": ["tags"], "op": "contains", "value": "pii"},
                {"rule_type": "field", "path": ["n"], "op": "lt", "value": VENDORS // 2},
            ],
        },
        "active",
        VENDORS // 10,
    ),
    (None, "paused", 0),
]
DEFINITION = {
    "name": "React",
    "steps": [
        {"id": "look", "type": "transform", "config": {"output": "{{ entity.id }}"}},
        {
            "id": "pause",
            "type": "wait",
            "config": {"duration": 0.2},
            "depends_on": ["look"],
        },
        {
            "id": "tell",
            "type": "transform",
            "config": {"output": "{{ [steps.look.output, entity.fields.n] }}"},
            "depends_on": ["pause"],
        },
    ],
}


def vendor(n: int) -> dict[str, Any]:
    return {
        "name": f"Vendor {n}",
        "n": n,
        "tier": ("gold", "silver")[n % 2],
        "tags": ["pii"] * (n % 5 == 0),
    }


async def sent(site: Site) -> dict[str, Any]:
    """Import all vendors as a careful client does: with a key, until it is answered."""
    document = {
        "entityTypeId": "Vendor",
        "entities": [{"fields": vendor(n)} for n in range(VENDORS)],
    }
    async with asyncio.timeout(PATIENCE * 2):
        while True:
            try:
                answer = await site.http.post(
                    "/api/v1/entities/import",
                    content=json.dumps(document),
                    headers={"content-type": "application/json", "Idempotency-Key": "vendors"},
                    timeout=PATIENCE,
                )
            except httpx2.TransportError:
                await asyncio.sleep(0.2)
                continue
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                done: dict[str, Any] = answer.json()
                return done


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_five_hundred_vendors_start_exactly_their_runs(tmp_path: Path) -> None:
    async with Site(tmp_path, limit=200) as site:
        urls = []
        for conditions, status, _ in WORKFLOWS:
            body = {
                "definition": DEFINITION,
                "status": status,
                "trigger_type": "event",
                "trigger": {"event": "Vendor.Created", "conditions": conditions},
            }
            answer = await site.http.post("/api/workflows", json=body)
            assert answer.status_code == 201, answer.text
            urls.append(answer.json()["id"])
        # It dies when the first batch is committed and none of its runs is dispatched.
        site.kill("api")
        site.start("api", SIGNALBOX_FAILPOINT="import.after_batch")
        await site.ready()
        importing = asyncio.create_task(sent(site))
        await site.gone("api")
        site.start("api")
        await site.ready()
        for _ in range(2):
            await asyncio.sleep(0.5)
            site.kill("worker")
            await asyncio.sleep(0.2)
            site.start("worker")
        assert await importing == {"imported": VENDORS, "failed": 0, "errors": []}
        for workflow, (_, _, count) in zip(urls, WORKFLOWS, strict=True):
            await site.completed(workflow, count, patience=PATIENCE * 3)
            statuses = await site.statuses(workflow)
            assert list(statuses.values()) == ["completed"] * count
            assert len(await started_by(site, workflow)) == count
        page = await site.http.get("/api/v1/entities", params={"entityTypeId": "Vendor"})
        assert page.json()["total"] == VENDORS


async def started_by(site: Site, workflow: str) -> set[str]:
    """The events that have started the runs of a workflow."""
    found: list[str] = []
    while True:
        answer = await site.http.get(
            f"/api/workflows/{workflow}/runs", params={"limit": 200, "offset": len(found)}
        )
        page = answer.json()
        found += [run["event_id"] for run in page["runs"]]
        if len(found) >= page["total"]:
            return set(found)
