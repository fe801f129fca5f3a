"""What the sweeper does again; the runs need no worker."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from activities.registry import catalog
from app.services import sweeper
from app.services.sweeper import Sweeper
from app.settings import Settings
from engine.book import PlaceCall
from store import executions, idempotency, organisations, parking, runs
from store.database import Database, Tx
from store.runs import RunRow
from tests.contract.conftest import Door, running, serving_temporal
from tests.contract.full_engine.definitions import QUIET, create_and_run
from tests.executions import execution
from workflows.contract import workflow_id


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be old to count as lost, and the app's own sweeper keeps out of the way."""
    for name in ("UNDISPATCHED_FOR", "INTENT_FOR", "OPEN_FOR"):
        monkeypatch.setattr(sweeper, name, -1_000_000)
    monkeypatch.setattr(sweeper, "PERIOD", 3_600)
    monkeypatch.setattr(sweeper, "LEASE", 0)


@pytest.fixture
async def sweep(app: FastAPI, door: Door) -> Sweeper:
    return Sweeper(door.database, app.state.services.dispatch, places=10)


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


async def row_of(database: Database, run_id: str) -> RunRow:
    row = await database.read(lambda tx: runs.by_id(tx, run_id.removeprefix("run_")))
    assert row is not None
    return row


def handle_of(client: Client, run_id: str, n: int = 1) -> WorkflowHandle[object, object]:
    return client.get_workflow_handle(workflow_id(run_id.removeprefix("run_"), n))


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async with asyncio.timeout(60):
        while not any(words in line for line in caplog.messages):
            await asyncio.sleep(0.05)


async def test_runs_that_were_accepted_while_temporal_was_away_are_started(
    settings: Settings, temporal: str, client: Client, unused_tcp_port: int
) -> None:
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            run_id = await create_and_run(api, QUIET)
        assert (await row_of(door.database, run_id)).dispatched_at is None
    async with running(settings, temporal) as app:
        database = app.state.services.database
        assert await Sweeper(database, app.state.services.dispatch, 10).sweep()
        described = await handle_of(client, run_id).describe()
        assert described.status is WorkflowExecutionStatus.RUNNING
        async with asyncio.timeout(30):
            while (await row_of(database, run_id)).dispatched_at is None:
                await asyncio.sleep(0.02)


async def test_the_return_of_temporal_is_noticed(
    settings: Settings,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "signalbox.sweeper")
    monkeypatch.setattr(sweeper, "PERIOD", 0.1)
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            run_id = await create_and_run(api, QUIET)
        # A server that is there before the sweeper has missed it did not return.
        await logged(caplog, "the sweeper waits")
        async with serving_temporal(unused_tcp_port):
            await logged(caplog, "the sweeper goes on")
            async with asyncio.timeout(60):
                while (await row_of(door.database, run_id)).dispatched_at is None:
                    await asyncio.sleep(0.05)


async def test_a_run_that_is_there_already_is_not_started_twice(
    api: httpx2.AsyncClient, door: Door, sweep: Sweeper, client: Client
) -> None:
    run_id = await create_and_run(api, QUIET)
    before = await handle_of(client, run_id).describe()
    for _ in range(2):
        await sweep.sweep()
    after = await handle_of(client, run_id).describe()
    assert before.run_id == after.run_id


async def test_a_terminated_execution_closes_its_run(
    api: httpx2.AsyncClient, door: Door, sweep: Sweeper, client: Client
) -> None:
    run_id = await create_and_run(api, QUIET)
    await handle_of(client, run_id).terminate()
    await sweep.sweep()
    run = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
    assert run["status"] == "failed"
    assert run["error"]["code"] == "execution_lost"
    assert "terminated" in run["error"]["message"]
    await sweep.sweep()
    # The sweeper has given it a place before it saw that, and ends it once.
    assert (await row_of(door.database, run_id)).seq == 3


async def test_a_verb_that_was_not_heard_is_repeated(
    api: httpx2.AsyncClient, door: Door, sweep: Sweeper, client: Client
) -> None:
    run_id = await create_and_run(api, QUIET)
    row = await row_of(door.database, run_id)
    await door.database.write(
        lambda tx: executions._begin(tx, row)  # what a worker's first call does
    )
    await door.database.write(lambda tx: executions.cancel(tx, row.org_id, row.id))
    await sweep.sweep()
    history = await handle_of(client, run_id).fetch_history()
    assert any(
        event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED
        for event in history.events
    )


async def test_a_place_that_was_not_told_of_is_told_again(
    api: httpx2.AsyncClient, door: Door, sweep: Sweeper, client: Client
) -> None:
    run_id = await create_and_run(api, QUIET)
    row = await row_of(door.database, run_id)
    given = await door.database.write(lambda tx: executions.hand_on(tx, row.org_id, 10))
    assert given == [execution(row.id, 1)]
    await sweep.sweep()
    assert await signals(client, run_id) == ["admit"]


async def test_a_place_that_a_waiting_run_was_given_is_told_until_it_is_heard(
    api: httpx2.AsyncClient, door: Door, sweep: Sweeper, client: Client
) -> None:
    """A run that had parked; and one that is parked is told nothing, and closed when it is lost."""
    run_id, other = [await create_and_run(api, QUIET) for _ in range(2)]
    calls = [
        PlaceCall(run=run.removeprefix("run_"), n=1, parkings=0, wanted=True)
        for run in (run_id, other)
    ]

    def park(tx: Tx) -> None:
        for call in calls:
            executions.open_execution(tx, call.run, 1, 10, catalog())
            parking.give_back(tx, call, 0)
        parking.ask(tx, calls[0].model_copy(update={"parkings": 1}), 0)

    await door.database.write(park)
    for expected in (1, 2):
        await sweep.sweep()
        assert (await row_of(door.database, run_id)).admitted
        assert await signals(client, run_id) == ["admit"] * expected
    noted = calls[0].model_copy(update={"parkings": 1, "wanted": False})
    await door.database.write(lambda tx: parking.ask(tx, noted, 10))
    await sweep.sweep()
    assert await signals(client, run_id) == ["admit"] * 2
    assert await signals(client, other) == []
    await handle_of(client, other).terminate()
    await sweep.sweep()
    lost = await row_of(door.database, other)
    assert (lost.status, lost.parked) == ("failed", False)
    assert (await row_of(door.database, run_id)).admitted


async def signals(client: Client, run_id: str) -> list[str]:
    history = await handle_of(client, run_id).fetch_history()
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
    ]


async def test_old_keys_are_forgotten_and_young_ones_kept(
    door: Door, sweep: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    org_id = await door.database.write(lambda tx: organisations.ensure(tx, "default"))

    def reserve(tx: Tx) -> idempotency.Remembered | None:
        return idempotency.reserve(tx, org_id, "endpoint", "key", "fingerprint")

    assert await door.database.write(reserve) is None
    await sweep.sweep()
    assert await door.database.write(reserve) is not None
    monkeypatch.setattr(sweeper, "REMEMBERED_FOR", -1_000_000)
    await sweep.sweep()
    assert await door.database.write(reserve) is None


async def test_one_sweeps_at_a_time(
    app: FastAPI, door: Door, sweep: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "LEASE", 60)
    other = Sweeper(door.database, app.state.services.dispatch, places=10)
    assert await sweep.sweep()
    assert not await other.sweep()
    await sweep.stop()
    assert await other.sweep()


async def test_it_goes_round_all_open_runs(
    api: httpx2.AsyncClient,
    door: Door,
    sweep: Sweeper,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "_COMPARED", 2)
    ids = [await create_and_run(api, QUIET) for _ in range(5)]
    await handle_of(client, ids[4]).terminate()
    for _ in range(3):
        await sweep.sweep()
    assert (await row_of(door.database, ids[4])).status == "failed"


async def test_outages_are_one_line(
    settings: Settings,
    unused_tcp_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sweeper, "PERIOD", 0.05)
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            await create_and_run(api, QUIET)
        await logged(caplog, "the sweeper waits")
        await asyncio.sleep(1)
    assert sum("the sweeper waits" in line for line in caplog.messages) == 1
    assert not any(record.exc_info for record in caplog.records)
