"""An event that comes in over HTTP wakes the run that waits for it, also when that was lost."""

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from app.services.aftermath import Aftermath
from engine.roles import Role
from store.record_tables import event_waits
from store.runs import RunRow
from tests.contract.conftest import Door
from tests.contract.run_by_name.definitions import create, start, until

pytestmark = pytest.mark.usefixtures("worker")


async def waiting(api: httpx2.AsyncClient, door: Door, **config: Any) -> str:
    """A run that waits for an event by now."""
    step = {"id": "hold", "type": "wait", "config": config}
    await create(api, {"name": "waiting", "steps": [step]}, status="active")
    run_id = await start(api, "waiting", input={"ticket": "T-1"})
    count = select(func.count()).select_from(event_waits).where(event_waits.c.event_id.is_(None))
    async with asyncio.timeout(60):
        while not await door.database.read(lambda tx: tx.execute(count).scalar_one()):
            await asyncio.sleep(0.05)
    return run_id


async def output(api: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
    await until(api, run_id, "completed")
    page = await api.get(f"/api/workflows/runs/run_{run_id.removeprefix('cbwr_')}")
    found: dict[str, Any] = page.json()["run"]["output"]
    return found


async def test_an_event_of_somebody_else(api: httpx2.AsyncClient, door: Door) -> None:
    match = "event.data.ticket == input.ticket"
    run_id = await waiting(api, door, event="Ticket.Closed", match=match)
    sent = {"name": "Ticket.Closed", "data": {"ticket": "T-1", "by": "Ada"}}
    told = await api.post("/v1/events", json=sent)
    assert told.status_code == 202
    event = {"id": told.json()["event_id"], **sent}
    found = await output(api, run_id)
    assert (found["event"], found["entity"], found["timed_out"]) == (event, None, False)


async def test_an_event_in_the_life_of_a_record(api: httpx2.AsyncClient, door: Door) -> None:
    body = {"entityTypeId": "Vendor", "fields": {"tier": "silver"}}
    vendor = (await api.post("/api/v1/entities", json=body)).json()["id"]
    match = f"entity.id == '{vendor}' && entity.fields.tier == 'gold'"
    run_id = await waiting(api, door, event="Vendor.Updated", match=match)
    for tier in ("bronze", "gold"):
        changed = await api.patch(f"/api/v1/entities/{vendor}", json={"fields": {"tier": tier}})
        assert changed.status_code == 200, changed.text
    found = await output(api, run_id)
    assert found["entity"] == {"id": vendor, "type": "Vendor", "fields": {"tier": "gold"}}
    assert found["event"]["name"] == "Vendor.Updated"


async def test_a_wake_up_that_is_lost_is_repeated(
    api: httpx2.AsyncClient, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forget(_: Aftermath, __: list[RunRow]) -> bool:
        return True

    monkeypatch.setattr(Aftermath, "follow", forget)
    run_id = await waiting(api, door, event="Ticket.Closed")
    await api.post("/v1/events", json={"name": "Ticket.Closed"})
    assert (await output(api, run_id))["timed_out"] is False


async def test_another_organisation_wakes_nobody(api: httpx2.AsyncClient, door: Door) -> None:
    run_id = await waiting(api, door, event="Ticket.Closed")
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        assert (await other.post("/v1/events", json={"name": "Ticket.Closed"})).status_code == 202
    mine = await api.post("/v1/events", json={"name": "Ticket.Closed", "data": {"mine": True}})
    assert mine.status_code == 202
    assert (await output(api, run_id))["event"]["data"] == {"mine": True}
