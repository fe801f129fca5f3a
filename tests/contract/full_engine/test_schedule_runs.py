"""What schedules start: triggers, backfills, overlaps, workflows that are not active."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from temporalio.client import Client, WorkflowFailureError

from app.services import schedules as service
from app.settings import Settings
from engine.lifecycle import DefinitionStatus
from store import clock, schedules
from store.database import Tx
from store.tables import workflows
from tests.contract.conftest import Door, running, working
from tests.contract.full_engine.definitions import until
from tests.contract.full_engine.timing import (
    create,
    handle_of,
    in_temporal,
    read,
    runs_of,
    scheduled,
)
from tests.workflow.patience import until as holds

ECHO: dict[str, Any] = {
    "name": "Echo",
    "steps": [{"id": "echo", "type": "transform", "config": {"output": "{{ input.report }}"}}],
}
#: Holds its place until it is cancelled.
SLOW: dict[str, Any] = {
    "name": "Slow",
    "steps": [
        {"id": "hold", "type": "script", "config": {"language": "shell", "source": "sleep 300"}}
    ],
}
#: Monday to Friday, Eastern Standard Time until Saturday.
WEEK = {"start_at": "2026-03-02T14:00:00Z", "end_at": "2026-03-06T09:00:00-05:00"}
DAYS = [f"2026-03-0{day}T14:00:00Z" for day in range(2, 7)]


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


@pytest.fixture
async def one_place(settings: Settings, temporal: str) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin where one run at a time has a place, which the worker and the sweeper agree on."""
    narrow = settings.model_copy(update={"max_concurrent_runs": 1})
    async with (
        running(narrow, temporal) as app,
        working(narrow, temporal),
        Door(app, app.state.services.database).client() as api,
    ):
        yield api


async def test_create_trigger_and_backfill_while_paused(
    api: httpx2.AsyncClient, worker: None, client: Client
) -> None:
    workflow_id = await create(api, ECHO)
    address = await scheduled(api, workflow_id, paused=True)

    triggered = await api.post(f"{address}/trigger")
    assert triggered.status_code == 202, triggered.text
    (run,) = await runs_of(api, workflow_id, 1)
    assert triggered.json() == {
        "schedule_id": address.rpartition("/")[2],
        "scheduled_at": run["scheduled_at"],
    }
    assert (run["trigger"], run["schedule_id"]) == ("schedule", triggered.json()["schedule_id"])
    whole = (await api.get(f"/api/workflows/runs/{run['id']}")).json()["run"]
    assert whole["output"] == "daily"
    assert (await read(api, address))["last_run_at"] == run["created_at"]

    filled = await api.post(f"{address}/backfill", json=WEEK)
    assert filled.status_code == 202, filled.text
    assert filled.json() == {"schedule_id": run["schedule_id"], "times": 5}
    runs = await runs_of(api, workflow_id, 6)
    assert sorted(run["scheduled_at"] for run in runs[:5]) == DAYS
    assert {run["trigger"] for run in runs} == {"schedule"}

    # A backfill that is repeated is one of new runs, once Temporal too has closed the old ones.
    for day in DAYS:
        name = f"sched/{address.rpartition('sched_')[2]}/run-{day}"
        await client.get_workflow_handle(name).result()
    assert (await api.post(f"{address}/backfill", json=WEEK)).json()["times"] == 5
    again = await runs_of(api, workflow_id, 11)
    assert len({run["id"] for run in again}) == 11
    assert sorted(run["scheduled_at"] for run in again) == sorted(
        [*DAYS, *DAYS, run["scheduled_at"]]
    )
    found = await in_temporal(client, address)
    assert (found.info.num_actions, found.info.num_actions_skipped_overlap) == (11, 0)
    assert found.schedule.state.paused


async def test_a_backfill_of_no_time_and_wrong_ranges(api: httpx2.AsyncClient) -> None:
    address = await scheduled(api, cron_expression="* * * * *")
    weekend = {"start_at": "2026-03-07T00:00:30Z", "end_at": "2026-03-07T00:00:59Z"}
    answer = await api.post(f"{address}/backfill", json=weekend)
    assert (answer.status_code, answer.json()["times"]) == (202, 0)
    for body, path in (
        ({"start_at": "2026-03-01T00:00:00Z", "end_at": "2026-03-01T08:20:00Z"}, "start_at"),
        ({"start_at": "0001-01-01T00:00:00Z", "end_at": "2026-03-01T08:20:00Z"}, "start_at"),
        ({"start_at": "2026-03-02T00:00:00Z", "end_at": "2026-03-01T00:00:00Z"}, "end_at"),
        ({"start_at": "2026-03-02T00:00:00Z", "end_at": "2999-03-01T00:00:00Z"}, "end_at"),
        ({"start_at": "2026-03-02T00:00:00", "end_at": "2026-03-01T00:00:00Z"}, "start_at"),
        (weekend | {"overlap": "queue"}, "overlap"),
        ({"start_at": "2026-03-02T00:00:00Z"}, "end_at"),
    ):
        answer = await api.post(f"{address}/backfill", json=body)
        assert answer.status_code == 422, body
        assert [problem["path"] for problem in answer.json()["problems"]] == [f"body.{path}"]


async def test_one_trigger_in_a_second(
    api: httpx2.AsyncClient, worker: None, client: Client
) -> None:
    workflow_id = await create(api, ECHO)
    address = await scheduled(api, workflow_id, overlap="allow_all")
    answers = await asyncio.gather(*(api.post(f"{address}/trigger") for _ in range(6)))
    taken = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert len(taken) + len(refused) == 6
    assert refused
    assert {answer.json()["error"] for answer in refused} == {"conflict"}
    times = {answer.json()["scheduled_at"] for answer in taken}
    assert len(times) == len(taken)
    assert not any(time.endswith(":00Z") for time in times)
    runs = await runs_of(api, workflow_id, len(taken))
    assert {run["scheduled_at"] for run in runs} == times
    assert (await in_temporal(client, address)).info.num_actions == len(taken)


@pytest.mark.parametrize(
    ("now", "named"), [(59.9, 59), (60.0, 61), (60.4, 61), (61.0, 61), (119.999999, 119)]
)
async def test_no_trigger_is_named_by_a_second_in_which_a_cron_may_fire(
    monkeypatch: pytest.MonkeyPatch, now: float, named: int
) -> None:
    monkeypatch.setattr(clock, "now", lambda: round(now * 1_000_000))
    assert await service._a_second() == named * 1_000_000


async def test_a_queued_run_is_an_open_one(one_place: httpx2.AsyncClient, client: Client) -> None:
    api = one_place
    workflow_id, other = await create(api, ECHO), await create(api, SLOW)
    blocker = (await api.post(f"/api/workflows/{other}/run")).json()["run_id"]
    await until(api, blocker, "running")
    address = await scheduled(api, workflow_id, overlap="skip")
    assert (await api.post(f"{address}/trigger")).status_code == 202
    (queued,) = await runs_of(api, workflow_id, 1, "pending")

    refused = await api.post(f"{address}/trigger")
    assert refused.status_code == 409
    assert "overlapping" in refused.json()["message"]
    # Temporal itself says no to what comes from elsewhere.
    await handle_of(client, address).trigger()

    async def skipped() -> bool:
        return (await in_temporal(client, address)).info.num_actions_skipped_overlap == 1

    await holds(skipped, "the start was not skipped")
    await api.post(f"/api/workflows/runs/{blocker}/cancel")
    (run,) = await runs_of(api, workflow_id, 1)
    assert run["id"] == queued["id"]
    assert (await api.post(f"{address}/backfill", json=WEEK)).json()["times"] == 5
    # Of its own, with the policy that the backfill asks for.
    await runs_of(api, workflow_id, 6)


async def test_a_schedule_starts_nothing_while_its_workflow_is_not_active(
    api: httpx2.AsyncClient, door: Door, worker: None, client: Client
) -> None:
    workflow_id = await create(api, ECHO)
    address = await scheduled(api, workflow_id, paused=False)
    bare = workflow_id.removeprefix("wf_")

    async def become(status: DefinitionStatus) -> None:
        """What a change of the workflow's status does."""

        def work(tx: Tx) -> None:
            tx.execute(update(workflows).where(workflows.c.id == bare).values(status=status))
            schedules.touch_of_workflow(tx, bare)

        await door.database.write(work)
        await door.app.state.services.schedules.sync(bare)

    for status in (DefinitionStatus.PAUSED, DefinitionStatus.ARCHIVED, DefinitionStatus.DRAFT):
        await become(status)
        schedule = await read(api, address)
        assert (schedule["enabled"], schedule["paused"]) == (False, False)
        assert schedule["next_run_at"] is None
        assert (await in_temporal(client, address)).schedule.state.paused
        for verb, body in (("trigger", None), ("backfill", WEEK)):
            refused = await api.post(f"{address}/{verb}", json=body)
            assert refused.status_code == 409
            assert "not active" in refused.json()["message"]
    # A start that Temporal makes all the same ends quietly.
    await handle_of(client, address).trigger()
    (action,) = await _actions(client, address, 1)
    await client.get_workflow_handle(action).result()
    await runs_of(api, workflow_id, 0)

    await become(DefinitionStatus.ACTIVE)
    assert (await read(api, address))["enabled"] is True
    assert not (await in_temporal(client, address)).schedule.state.paused
    assert (await api.post(f"{address}/trigger")).status_code == 202
    await runs_of(api, workflow_id, 1)

    await door.database.write(lambda tx: schedules.delete_of_workflow(tx, bare))
    await door.app.state.services.schedules.sync(bare)
    assert (await api.get(address)).status_code == 404
    async with asyncio.timeout(30):
        while f"sched/{address.rpartition('sched_')[2]}" in {
            listed.id async for listed in await client.list_schedules()
        }:
            await asyncio.sleep(0.05)
    # Its runs stay.
    await runs_of(api, workflow_id, 1)


async def _actions(client: Client, address: str, count: int) -> list[str]:
    """Workflow ids of what the schedule has started, once that is so many."""
    async with asyncio.timeout(30):
        while True:
            found = (await in_temporal(client, address)).info.recent_actions
            if len(found) == count:
                return [result.action.workflow_id for result in found]
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("overlap", ["skip", "buffer_one", "cancel_other", "allow_all"])
async def test_a_resumed_run_counts_although_temporal_does_not_know_it(
    api: httpx2.AsyncClient, worker: None, client: Client, overlap: str
) -> None:
    workflow_id = await create(api, SLOW)
    address = await scheduled(api, workflow_id, overlap=overlap)
    await api.post(f"{address}/trigger")
    (run,) = await runs_of(api, workflow_id, 1, "running")
    await api.post(f"/api/workflows/runs/{run['id']}/cancel")
    await until(api, run["id"], "cancelled")
    (action,) = await _actions(client, address, 1)
    with suppress(WorkflowFailureError):
        await client.get_workflow_handle(action).result()
    await api.post(f"/api/workflows/runs/{run['id']}/resume")
    await until(api, run["id"], "running")
    await asyncio.sleep(1)

    await handle_of(client, address).trigger()
    first, second = await _actions(client, address, 2)
    assert first != second
    match overlap:
        case "skip":
            await client.get_workflow_handle(second).result()
            await runs_of(api, workflow_id, 1, "running")
        case "buffer_one":
            await asyncio.sleep(1)
            await runs_of(api, workflow_id, 1, "running")
            await api.post(f"/api/workflows/runs/{run['id']}/cancel")
            newest = (await runs_of(api, workflow_id, 2, "running", "cancelled"))[0]
            await until(api, newest["id"], "running")
        case "cancel_other":
            runs = await runs_of(api, workflow_id, 2, "running", "cancelled")
            assert runs[1]["status"] == "cancelled"
        case "allow_all":
            await runs_of(api, workflow_id, 2, "running")
    for found in (await api.get(f"/api/workflows/{workflow_id}/runs")).json()["runs"]:
        await api.post(f"/api/workflows/runs/{found['id']}/cancel")


@pytest.mark.parametrize("overlap", ["cancel_other", "terminate_other"])
async def test_a_start_takes_the_place_of_the_open_run(
    one_place: httpx2.AsyncClient, overlap: str
) -> None:
    """Also where there is one place only."""
    api = one_place
    workflow_id = await create(api, SLOW)
    address = await scheduled(api, workflow_id, overlap=overlap)
    await api.post(f"{address}/trigger")
    (first,) = await runs_of(api, workflow_id, 1, "running")
    await asyncio.sleep(1)
    assert (await api.post(f"{address}/trigger")).status_code == 202
    second, ended = await runs_of(api, workflow_id, 2, "running", "cancelled")
    assert (ended["id"], ended["status"]) == (first["id"], "cancelled")
    await until(api, second["id"], "running")
    await api.post(f"/api/workflows/runs/{second['id']}/cancel")
    await until(api, second["id"], "cancelled")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_it_fires_by_itself(api: httpx2.AsyncClient, worker: None) -> None:
    """Every minute, for two minutes."""
    workflow_id = await create(api, ECHO)
    began = datetime.now(UTC)
    address = await scheduled(
        api, workflow_id, cron_expression="* * * * *", timezone="UTC", paused=False
    )
    answered = datetime.now(UTC)
    async with asyncio.timeout(180):
        while (await api.get(f"/api/workflows/{workflow_id}/runs")).json()["total"] < 2:
            await asyncio.sleep(0.5)
    await api.post(f"{address}/pause")
    runs = await runs_of(api, workflow_id, 2)
    first, second = (datetime.fromisoformat(run["scheduled_at"]) for run in reversed(runs))
    # The same minute on both sides, unless one has ended in between.
    minute = timedelta(minutes=1)
    assert began < first <= answered + minute
    assert (first.second, second - first) == (0, minute)
