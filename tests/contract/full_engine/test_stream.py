"""The stream of a run, over real connections."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.services import auth, stream
from engine.lifecycle import EventType
from engine.roles import Role
from store import events, keys
from store.events import NewEvent
from tests.contract.conftest import PEPPER, Door, serving
from tests.contract.full_engine.definitions import QUIET, create_and_run


@dataclass(frozen=True)
class Told:
    """One event as a client sees it."""

    id: int
    type: str
    data: dict[str, Any]


async def told(
    client: httpx2.AsyncClient, run_id: str, after: int | None = None
) -> AsyncIterator[Told]:
    headers = {} if after is None else {"last-event-id": str(after)}
    url = f"/api/workflows/runs/{run_id}/stream"
    async with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                assert name not in fields
                fields[name] = value
            elif fields:
                assert list(fields) == ["id", "event", "data"]
                yield Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}


async def everything(
    client: httpx2.AsyncClient, run_id: str, after: int | None = None
) -> list[Told]:
    async with asyncio.timeout(30):
        return [event async for event in told(client, run_id, after)]


async def append(door: Door, run_id: str, *new: NewEvent) -> None:
    await door.database.write(lambda tx: events.append(tx, run_id.removeprefix("run_"), new))


async def test_a_finished_run_is_replayed_and_the_stream_closes(live: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(live, QUIET)
    await live.post(f"/api/workflows/runs/{run_id}/cancel")
    seen = await everything(live, run_id)
    assert [(event.id, event.type) for event in seen] == [(1, "run_queued"), (2, "run_completed")]
    last = seen[-1].data
    assert (last["run_id"], last["status"], last["duration_seconds"]) == (run_id, "cancelled", None)
    assert await everything(live, run_id, after=1) == seen[1:]
    assert await everything(live, run_id, after=2) == []
    assert await everything(live, run_id, after=99) == []


async def test_watchers_see_every_event_once_in_order_while_it_happens(
    live: httpx2.AsyncClient, door: Door
) -> None:
    run_id = await create_and_run(live, QUIET)
    started = [NewEvent(EventType.STEP_STARTED, "first", data={"attempt": 1})]
    completed = NewEvent(
        EventType.STEP_COMPLETED, "first", data={"output": "a\r\nid: 7\n\n\u2028\u0085"}
    )
    await append(door, run_id, *started * 600)
    watching = [asyncio.create_task(everything(live, run_id)) for _ in range(5)]
    for _ in range(20):
        await append(door, run_id, *started * 20)
        await asyncio.sleep(0.01)
    watching.append(asyncio.create_task(everything(live, run_id, after=500)))
    await append(door, run_id, completed)
    await live.post(f"/api/workflows/runs/{run_id}/cancel")
    *whole, rest = await asyncio.gather(*watching)
    for seen in whole:
        assert [event.id for event in seen] == list(range(1, len(seen) + 1))
        assert seen == whole[0]
    assert rest == whole[0][500:]
    # The sweeper may have given the run a place meanwhile.
    told_of = Counter(event.type for event in whole[0] if event.type != "run_admitted")
    assert told_of == {
        "run_queued": 1,
        "step_started": 1_000,
        "step_completed": 1,
        "run_completed": 1,
    }
    step = next(event for event in whole[0] if event.type == "step_started")
    assert step.type == "step_started"
    assert set(step.data) == {"run_id", "step_id", "timestamp", "attempt"}
    assert step.data["timestamp"].endswith("Z")
    (step,) = (event for event in whole[0] if event.type == "step_completed")
    assert step.data["output"] == "a\r\nid: 7\n\n\u2028\u0085"


async def test_a_large_output_is_told_by_its_address(live: httpx2.AsyncClient, door: Door) -> None:
    run_id = await create_and_run(live, QUIET)
    large = NewEvent(EventType.STEP_COMPLETED, "first", "2", {"output_size": 100_000})
    waiting = NewEvent(EventType.STEP_WAITING, "second", data={"until": 1_767_225_600_000_000})
    await append(door, run_id, large, waiting)
    await live.post(f"/api/workflows/runs/{run_id}/cancel")
    _, completed, waits, _ = await everything(live, run_id)
    assert completed.data["output"] is None
    assert completed.data["output_url"] == (
        f"/api/workflows/runs/{run_id}/steps/first/output?iteration=2"
    )
    assert waits.data["waiting_until"] == "2026-01-01T00:00:00Z"


async def test_a_paused_run_keeps_its_stream_open(live: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(live, QUIET)
    url = f"/api/workflows/runs/{run_id}"
    watching = asyncio.create_task(everything(live, run_id))
    await live.post(f"{url}/pause")
    await live.post(f"{url}/resume")
    await live.post(f"{url}/cancel")
    seen = [event.type for event in await watching]
    assert seen == ["run_queued", "run_paused", "run_resumed", "run_completed"]


async def test_a_run_that_was_resumed_after_its_end_goes_on(live: httpx2.AsyncClient) -> None:
    run_id = await create_and_run(live, QUIET)
    url = f"/api/workflows/runs/{run_id}"
    for verb in ("cancel", "resume", "cancel"):
        await live.post(f"{url}/{verb}")
    seen = [event.type for event in await everything(live, run_id)]
    assert seen == ["run_queued", "run_completed", "run_resumed", "run_completed"]


async def test_what_is_no_stream_is_plain_json(live: httpx2.AsyncClient, door: Door) -> None:
    unknown = await live.get(f"/api/workflows/runs/run_{'0' * 32}/stream")
    assert unknown.status_code == 404
    assert unknown.headers["content-type"] == "application/json"
    run_id = await create_and_run(live, QUIET)
    url = f"/api/workflows/runs/{run_id}/stream"
    for number in ("x", "-1", "1.5", "9" * 30):
        answer = await live.get(url, headers={"last-event-id": number})
        assert answer.status_code == 422, number
        assert answer.json()["error"] == "validation_error"


async def test_a_key_has_so_many_streams_and_no_more(
    live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_OF_A_KEY", 2)
    run_id = await create_and_run(live, QUIET)
    url = f"/api/workflows/runs/{run_id}/stream"
    async with live.stream("GET", url) as first, live.stream("GET", url) as second:
        # Kept: an iterator that is dropped closes its stream.
        lines = [opened.aiter_lines() for opened in (first, second)]
        for opened, line in zip((first, second), lines, strict=True):
            assert opened.status_code == 200
            await anext(line)
        third = await live.get(url)
        assert third.status_code == 429
        assert third.json()["error"] == "too_many_streams"
    async with asyncio.timeout(30):
        while (await live.post(f"/api/workflows/runs/{run_id}/cancel")).status_code != 200 or (
            await live.get(url)
        ).status_code != 200:
            await asyncio.sleep(0.05)


async def test_a_revoked_key_loses_its_stream(
    app: FastAPI, door: Door, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RECHECK", 0.2)
    monkeypatch.setattr(auth, "REMEMBERED", 0.1)
    run_id = await create_and_run(live, QUIET)
    token = await door.key(Role.VIEWER)
    row = await door.database.read(lambda tx: keys.find(tx, token, PEPPER.encode()))
    assert row is not None
    async with (
        serving(app) as url,
        httpx2.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=30
        ) as watcher,
        asyncio.timeout(30),
    ):
        watching = told(watcher, run_id)
        assert (await anext(watching)).type == "run_queued"
        await door.database.write(lambda tx: keys.revoke(tx, row.org_id, row.id))
        assert [event async for event in watching] == []


async def test_a_watcher_that_does_not_keep_up_is_dropped(
    app: FastAPI, door: Door, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BACKLOG", 10)
    run_id = await create_and_run(live, QUIET)
    services = app.state.services
    caller = await services.auth.caller([live.headers["authorization"]])
    run = await services.runs.get(caller, run_id.removeprefix("run_"))
    following = services.tail.follow(caller, run, 0)
    async with asyncio.timeout(30):
        assert (await anext(following)).seq == 1
        await append(door, run_id, *[NewEvent(EventType.RUN_QUEUED)] * 11)
        while not any(
            watcher.dropped for watchers in services.tail._watchers.values() for watcher in watchers
        ):
            await asyncio.sleep(0.02)
        rest = [event.seq async for event in following]
        assert rest == list(range(2, 2 + len(rest)))
    assert not services.tail._watchers
    assert not services.tail._marks
