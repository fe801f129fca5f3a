"""A-4: a start at one time in the future, with its published keys and codes."""

import asyncio
import time
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from temporalio.client import Client
from temporalio.service import RPCError

from app.services import upkeep
from app.services.upkeep import Upkeep
from app.settings import Settings
from store import clock, one_offs, organisations
from store.database import Tx
from store.one_offs import OneOff
from store.tables import schedules
from tests.contract.conftest import Door
from tests.contract.run_by_name.definitions import INPUT, SWEEP, create, open_api, quiet

TOMORROW = int(time.time()) + 86_400
URL = f"/v1/workflows/{SWEEP}/schedule"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change has to be old to count as lost."""
    monkeypatch.setattr(upkeep, "UNTOLD_FOR", -1_000_000)


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


@pytest.fixture
def keeper(app: FastAPI) -> Upkeep:
    services = app.state.services
    return Upkeep(services.database, services.schedules._timetable)


async def plan(api: httpx2.AsyncClient, at: int = TOMORROW) -> str:
    answer = await api.post(URL, json={"scheduled_for": at, "input": INPUT})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def read(api: httpx2.AsyncClient, schedule_id: str) -> dict[str, Any]:
    answer = await api.get(f"/v1/workflows/schedules/{schedule_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def settled(api: httpx2.AsyncClient, schedule_id: str) -> dict[str, Any]:
    """The start, once it has fired or was given up."""
    async with asyncio.timeout(60):
        while True:
            found = await read(api, schedule_id)
            if found["fired_at"] or found["canceled_at"]:
                return found
            await asyncio.sleep(0.1)


async def runs_of(api: httpx2.AsyncClient) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = (await api.get("/v1/workflows/runs")).json()["data"]
    return data


async def in_temporal(client: Client, schedule_id: str) -> bool:
    name = f"sched/{schedule_id.removeprefix('cbwsch_')}"
    try:
        await client.get_schedule_handle(name).describe()
    except RPCError:
        return False
    return True


async def test_a4_schedule_a_workflow(api: httpx2.AsyncClient, client: Client) -> None:
    workflow = await create(api, quiet())
    answer = await api.post(URL, json={"scheduled_for": TOMORROW, "input": INPUT})
    assert answer.status_code == 201
    body = answer.json()
    assert {*body} == {
        "id",
        "workflow_definition_id",
        "scheduled_for",
        "fired_at",
        "canceled_at",
        "cancel_reason",
        "payload",
        "created_at",
        "updated_at",
    }
    assert body["id"].startswith("cbwsch_")
    assert body["workflow_definition_id"] == f"cbwd_{workflow}"
    assert (body["scheduled_for"], body["payload"]) == (TOMORROW, INPUT)
    assert body["fired_at"] is body["canceled_at"] is body["cancel_reason"] is None
    assert await read(api, body["id"]) == body
    assert await in_temporal(client, body["id"])
    # It is no schedule of the other API, which could not say when it fires.
    digits = body["id"].removeprefix("cbwsch_")
    listed = await api.get(f"/api/workflows/wf_{workflow}/schedules")
    assert listed.json() == {"schedules": [], "total": 0}
    assert (await api.get(f"/api/workflows/schedules/sched_{digits}")).status_code == 404


async def test_it_fires_once_at_its_time(
    api: httpx2.AsyncClient, worker: None, keeper: Upkeep, client: Client
) -> None:
    await create(api, quiet())
    schedule_id = await plan(api, int(time.time()) + 8)
    fired = await settled(api, schedule_id)
    assert fired["fired_at"] >= fired["scheduled_for"]
    (run,) = await runs_of(api)
    digits = run["workflow_run_id"].removeprefix("cbwr_")
    full = (await api.get(f"/api/workflows/runs/run_{digits}")).json()["run"]
    assert full["schedule_id"] == schedule_id.replace("cbwsch_", "sched_")
    assert full["input_data"] == INPUT
    await keeper.sweep()
    assert not await in_temporal(client, schedule_id)
    assert len(await runs_of(api)) == 1
    again = await api.delete(f"/v1/workflows/schedules/{schedule_id}")
    assert (again.status_code, again.json()["detail"]["code"]) == (409, "schedule_fired")


async def test_it_is_canceled(api: httpx2.AsyncClient, client: Client) -> None:
    await create(api, quiet())
    schedule_id = await plan(api)
    answer = await api.delete(f"/v1/workflows/schedules/{schedule_id}")
    assert answer.status_code == 200
    assert answer.json()["cancel_reason"] == "requested"
    assert isinstance(answer.json()["canceled_at"], int)
    assert (await api.delete(f"/v1/workflows/schedules/{schedule_id}")).json() == answer.json()
    assert await read(api, schedule_id) == answer.json()
    assert not await in_temporal(client, schedule_id)


async def test_a_disabled_workflow_drops_it_at_its_time(
    api: httpx2.AsyncClient, worker: None, door: Door
) -> None:
    workflow = await create(api, quiet())
    schedule_id = await plan(api)
    await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": "paused"})

    def tomorrow_is_here(tx: Tx) -> None:
        wanted = schedules.c.id == schedule_id.removeprefix("cbwsch_")
        tx.execute(update(schedules).where(wanted).values(run_at=clock.now() - clock.MINUTE))

    await door.database.write(tomorrow_is_here)
    dropped = await settled(api, schedule_id)
    assert dropped["cancel_reason"] == "workflow_disabled"
    assert await runs_of(api) == []


async def test_a_deleted_workflow_takes_it_along(api: httpx2.AsyncClient, client: Client) -> None:
    workflow = await create(api, quiet())
    schedule_id = await plan(api)
    await api.delete(f"/api/workflows/wf_{workflow}")
    assert (await read(api, schedule_id))["cancel_reason"] == "workflow_deleted"
    assert not await in_temporal(client, schedule_id)


async def test_what_temporal_has_missed_is_started_once(
    api: httpx2.AsyncClient,
    worker: None,
    door: Door,
    keeper: Upkeep,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if Temporal had been away from before its time until after it."""
    workflow = await create(api, quiet())
    at = clock.now() - clock.now() % clock.SECOND - 5 * clock.SECOND

    def missed(tx: Tx) -> OneOff:
        return one_offs.create(tx, organisations.find(tx, "default"), workflow, at, INPUT)

    monkeypatch.setattr(upkeep, "OVERDUE_FOR", 0)
    row = await door.database.write(missed)
    for _ in range(3):
        await keeper.sweep()
    fired = await settled(api, f"cbwsch_{row.id}")
    assert fired["cancel_reason"] is None
    await keeper.sweep()
    assert len(await runs_of(api)) == 1


async def test_it_is_kept_while_temporal_is_away(
    settings: Settings, temporal: str, unused_tcp_port: int, client: Client
) -> None:
    async with open_api(settings, f"127.0.0.1:{unused_tcp_port}") as (_, api):
        await create(api, quiet())
        schedule_id = await plan(api)
    async with open_api(settings, temporal) as (app, _):
        services = app.state.services
        await Upkeep(services.database, services.schedules._timetable).sweep()
        assert await in_temporal(client, schedule_id)


async def test_temporal_gives_it_back_as_it_was_sent(
    api: httpx2.AsyncClient, keeper: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    await create(api, quiet())
    await plan(api)
    await keeper.sweep()
    assert "not as it should be" not in caplog.text


async def test_the_same_key_plans_one(api: httpx2.AsyncClient) -> None:
    await create(api, quiet())
    key = {"idempotency-key": "ariba-req-7821"}
    first = await api.post(URL, json={"scheduled_for": TOMORROW}, headers=key)
    other = await api.post(URL, json={"scheduled_for": 1, "input": {"a": 1}}, headers=key)
    assert (other.status_code, other.content) == (201, first.content)
    assert other.headers["idempotent-replayed"] == "true"
    run = await api.post(f"/v1/workflows/{SWEEP}/run", headers=key)
    assert "idempotent-replayed" not in run.headers


async def test_the_published_errors(api: httpx2.AsyncClient) -> None:
    missing = {"code": "workflow_not_found", "message": f"Workflow '{SWEEP}' not found."}
    answer = await api.post(URL, json={"scheduled_for": 1})
    assert (answer.status_code, answer.json()) == (404, {"detail": missing})
    workflow = await create(api, quiet())
    past = {"code": "scheduled_for_in_past", "message": "scheduled_for must be in the future."}
    for at in (1, int(time.time())):
        answer = await api.post(URL, json={"scheduled_for": at})
        assert (answer.status_code, answer.json()) == (400, {"detail": past})
    for status, code in (("draft", "disabled"), ("paused", "disabled"), ("archived", "archived")):
        await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": status})
        answer = await api.post(URL, json={"scheduled_for": TOMORROW})
        told = {"code": f"workflow_{code}", "message": f"Workflow '{SWEEP}' is {code}."}
        assert (answer.status_code, answer.json()) == (409, {"detail": told})
    for wrong in ({}, {"scheduled_for": str(TOMORROW)}, {"scheduled_for": TOMORROW * 1_000}):
        answer = await api.post(URL, json=wrong)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "scheduled_for"]
    unknown = {"code": "schedule_not_found", "message": "Schedule not found."}
    for method in ("GET", "DELETE"):
        answer = await api.request(method, f"/v1/workflows/schedules/cbwsch_{'a' * 32}")
        assert (answer.status_code, answer.json()) == (404, {"detail": unknown})
