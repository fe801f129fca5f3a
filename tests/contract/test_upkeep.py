"""Temporal's schedules are brought back in step with the store, whatever happened to them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
)
from temporalio.service import RPCError

from app.services import sweeper, upkeep
from app.services.timetable import MARK
from app.services.upkeep import Upkeep
from app.settings import Settings
from app.surfaces.full_engine.schedules import schemas
from store import schedules
from store.database import Tx
from store.schedules import Terms
from tests.contract.conftest import Door, running
from tests.contract.full_engine.timing import create, handle_of, in_temporal, read, scheduled


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has to be old to count as lost, and the app's own sweeper keeps out of the way."""
    monkeypatch.setattr(upkeep, "UNTOLD_FOR", -1_000_000)
    monkeypatch.setattr(sweeper, "PERIOD", 3_600)


def upkeep_of(app: FastAPI) -> Upkeep:
    services = app.state.services
    return Upkeep(services.database, services.schedules._timetable)


@pytest.fixture
def keeper(app: FastAPI) -> Upkeep:
    return upkeep_of(app)


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


async def is_there(client: Client, schedule_id: str) -> bool:
    try:
        await client.get_schedule_handle(schedule_id).describe()
    except RPCError:
        return False
    return True


async def test_what_was_changed_while_temporal_was_away_is_told(
    settings: Settings, temporal: str, client: Client, unused_tcp_port: int
) -> None:
    async with running(settings, f"127.0.0.1:{unused_tcp_port}") as app:
        door = Door(app, app.state.services.database)
        async with door.client() as api:
            workflow_id = await create(api)
            kept, gone = [await scheduled(api, workflow_id, paused=False) for _ in range(2)]
            await api.put(kept, json={"cron_expression": "15 3 * * *"})
            await api.delete(gone)
    async with running(settings, temporal) as app:
        await upkeep_of(app).sweep()
        found = (await in_temporal(client, kept)).schedule
        assert [minute.start for minute in found.spec.calendars[0].minute] == [15]
        assert not await is_there(client, f"sched/{gone.rpartition('sched_')[2]}")
        rest = await app.state.services.database.read(
            lambda tx: schedules.out_of_step(tx, 2**62, 10)
        )
        assert rest == []


async def test_a_deletion_that_temporal_has_not_heard_of_is_repeated(
    api: httpx2.AsyncClient, door: Door, keeper: Upkeep, client: Client
) -> None:
    address = await scheduled(api)
    digits = address.rpartition("sched_")[2]

    def remove(tx: Tx) -> None:
        row = schedules.by_id(tx, digits)
        assert row is not None
        schedules.remove(tx, row.org_id, digits)

    await door.database.write(remove)
    assert await is_there(client, f"sched/{digits}")
    await keeper.sweep()
    assert not await is_there(client, f"sched/{digits}")
    assert await door.database.read(lambda tx: schedules.by_id(tx, digits)) is None


def _paused(schedule: Schedule) -> None:
    schedule.state.paused = not schedule.state.paused


def _noted(schedule: Schedule) -> None:
    schedule.state.note = "by hand"


def _another_time(schedule: Schedule) -> None:
    schedule.spec = replace(schedule.spec, cron_expressions=["0 0 * * *"])


def _another_zone(schedule: Schedule) -> None:
    schedule.spec = replace(schedule.spec, time_zone_name="Asia/Tokyo")


def _jitter(schedule: Schedule) -> None:
    schedule.spec = replace(schedule.spec, jitter=timedelta(hours=1))


def _policy(schedule: Schedule) -> None:
    schedule.policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)


def _limited(schedule: Schedule) -> None:
    schedule.state.limited_actions = True
    schedule.state.remaining_actions = 1


def _another_queue(schedule: Schedule) -> None:
    assert isinstance(schedule.action, ScheduleActionStartWorkflow)
    schedule.action.task_queue = "elsewhere"


def _another_action(schedule: Schedule) -> None:
    schedule.action = ScheduleActionStartWorkflow(
        "run", {"run": "x"}, id="sched/x/run", task_queue="elsewhere"
    )


@pytest.mark.parametrize(
    "harm",
    [
        _paused,
        _noted,
        _another_time,
        _another_zone,
        _jitter,
        _policy,
        _limited,
        _another_queue,
        _another_action,
    ],
    ids=lambda harm: harm.__name__,
)
async def test_what_somebody_changed_in_temporal_is_put_right(
    api: httpx2.AsyncClient,
    keeper: Upkeep,
    client: Client,
    harm: Callable[[Schedule], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = await scheduled(api, cron_expression="*/20 9-17 * * MON-FRI", catchup_window=600)
    before = (await in_temporal(client, address)).schedule
    await keeper.sweep()
    assert "was not as it should be" not in caplog.text

    def change(was: object) -> ScheduleUpdate:
        schedule = was.description.schedule  # type: ignore[attr-defined]
        harm(schedule)
        return ScheduleUpdate(schedule)

    await handle_of(client, address).update(change)
    assert (await in_temporal(client, address)).schedule != before
    await keeper.sweep()
    assert (await in_temporal(client, address)).schedule == before
    assert caplog.text.count("was not as it should be") == 1


async def test_what_somebody_deleted_in_temporal_is_made_again(
    api: httpx2.AsyncClient, keeper: Upkeep, client: Client
) -> None:
    address = await scheduled(api, paused=False)
    await handle_of(client, address).delete()
    assert (await read(api, address))["next_run_at"] is None
    await keeper.sweep()
    assert (await read(api, address))["next_run_at"] is not None


async def test_a_preview_does_not_wait_for_that(api: httpx2.AsyncClient, client: Client) -> None:
    address = await scheduled(api)
    await handle_of(client, address).delete()
    answer = await api.get(f"{address}/preview")
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["times"]) == 10


async def test_it_goes_round_all_schedules(
    api: httpx2.AsyncClient, keeper: Upkeep, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_COMPARED", 2)
    workflow_id = await create(api)
    addresses = [await scheduled(api, workflow_id) for _ in range(5)]
    await handle_of(client, addresses[4]).delete()
    for _ in range(3):
        await keeper.sweep()
    assert (await in_temporal(client, addresses[4])).schedule.state.paused


async def test_strays_of_this_deployment_go_and_others_stay(
    settings: Settings,
    api: httpx2.AsyncClient,
    keeper: Upkeep,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep, "STRAYS_EVERY", 0)
    monkeypatch.setattr(upkeep, "_STRAYS", 3)
    address = await scheduled(api)
    kept = [f"sched/{uuid4().hex}", f"sched/{uuid4().hex}", f"theirs/{uuid4().hex}"]
    memos = [{}, {MARK: "of another deployment"}, {MARK: settings.task_queue}]
    stray = f"sched/{uuid4().hex}"
    for schedule_id, memo in [*zip(kept, memos, strict=True), (stray, {MARK: settings.task_queue})]:
        await client.create_schedule(
            schedule_id,
            Schedule(
                action=ScheduleActionStartWorkflow("none", id="none", task_queue="none"),
                spec=ScheduleSpec(cron_expressions=["0 0 1 1 *"]),
            ),
            memo=memo,
        )

    async def round_and_round() -> None:
        """Page after page, until the first one comes again; other tests have schedules too."""
        while True:
            await keeper.sweep()
            if keeper._page is None:
                return

    # Temporal lists what was just made a moment later.
    async with asyncio.timeout(60):
        while await is_there(client, stray):
            await round_and_round()
    for schedule_id in kept:
        assert await is_there(client, schedule_id)
        await client.get_schedule_handle(schedule_id).delete()
    assert (await in_temporal(client, address)).schedule.state.paused


async def test_the_newest_change_wins_however_many_are_told_at_once(
    app: FastAPI, api: httpx2.AsyncClient, door: Door, client: Client
) -> None:
    """A slow teller of an old revision finds out, and tells the newest."""
    address = await scheduled(api)
    digits = address.rpartition("sched_")[2]
    timetable = app.state.services.schedules._timetable
    put: Callable[[schedules.ScheduleRow], Awaitable[None]] = timetable._put
    told = []

    async def slow(row: schedules.ScheduleRow) -> None:
        if not told:
            told.append(row.revision)
            # Between the look at the store and the word to Temporal, others do both.
            await api.put(address, json={"cron_expression": "7 7 * * *"})
        told.append(row.revision)
        await put(row)

    def touch(tx: Tx) -> None:
        row = schedules.by_id(tx, digits)
        assert row is not None
        schedules.pause(tx, row.org_id, digits, paused=True)

    await door.database.write(touch)
    timetable._put = slow
    try:
        await timetable.tell(digits)
    finally:
        timetable._put = put
    assert told == [2, 3, 2, 3]
    found = (await in_temporal(client, address)).schedule
    assert [minute.start for minute in found.spec.calendars[0].minute] == [7]
    row = await door.database.read(lambda tx: schedules.by_id(tx, digits))
    assert row is not None
    assert row.in_step


async def test_a_deletion_wins_over_a_slow_teller(
    app: FastAPI, api: httpx2.AsyncClient, client: Client
) -> None:
    address = await scheduled(api)
    digits = address.rpartition("sched_")[2]
    timetable = app.state.services.schedules._timetable
    put: Callable[[schedules.ScheduleRow], Awaitable[None]] = timetable._put

    async def slow(row: schedules.ScheduleRow) -> None:
        await api.delete(address)
        await put(row)

    timetable._put = slow
    await timetable.tell(digits)
    assert not await is_there(client, f"sched/{digits}")


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> str:
    """A time zone that this process knows, and the server does not."""
    monkeypatch.setattr(schemas, "zones", lambda: {"Moon/Tycho", "America/New_York"})
    return "Moon/Tycho"


async def test_a_zone_that_temporal_does_not_know_is_refused(
    api: httpx2.AsyncClient, door: Door, unheard: str
) -> None:
    workflow_id = await create(api)
    listed = f"/api/workflows/{workflow_id}/schedules"
    terms = {"cron_expression": "0 9 * * *", "timezone": unheard}
    answer = await api.post(listed, json=terms)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "body.timezone"
    assert (await api.get(listed)).json()["total"] == 0

    address = await scheduled(api, workflow_id)
    before = await read(api, address)
    answer = await api.put(address, json=terms)
    assert answer.status_code == 422
    after = await read(api, address)
    assert after | {"updated_at": None} == before | {"updated_at": None}
    assert await door.database.read(lambda tx: schedules.out_of_step(tx, 2**62, 10)) == []


async def test_one_that_temporal_refuses_does_not_hold_up_the_others(
    api: httpx2.AsyncClient,
    door: Door,
    keeper: Upkeep,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    workflow_id = await create(api)
    refused, other = [await scheduled(api, workflow_id) for _ in range(2)]

    def spoil(tx: Tx) -> None:
        for address, zone in ((refused, "Moon/Tycho"), (other, "Asia/Tokyo")):
            row = schedules.by_id(tx, address.rpartition("sched_")[2])
            assert row is not None
            terms: Terms = replace(row.terms, timezone=zone)
            schedules.replace(tx, row.org_id, row.id, terms)

    await door.database.write(spoil)
    await keeper.sweep()
    assert (await in_temporal(client, other)).schedule.spec.time_zone_name == "Asia/Tokyo"
    assert "does not take the times" in caplog.text
