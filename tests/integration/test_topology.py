"""The topology of `docker-compose.yml` without the containers.

PostgreSQL, a tuned Temporal server, and API and worker as processes of their own, two of each kind,
told of each other by the variables that the compose file sets and by nothing else.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.embedded.ports import free_port
from tests.integration.one_key import one_run_a_round
from tests.integration.site import PATIENCE, Site
from tests.postgresql import fresh
from tests.receiver import Receiver


@pytest.fixture(scope="module")
async def site(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    with fresh(postgresql) as url:
        async with Site(tmp_path_factory.mktemp("site"), limit=3, database_url=url) as site:
            yield site


def definition(receiver: Receiver) -> dict[str, Any]:
    return {
        "name": "two",
        "steps": [
            {
                "id": "fetch",
                "type": "http_request",
                "config": {"url": receiver.url("/slow/0.2/fetch")},
            },
            {
                "id": "tell",
                "type": "webhook",
                "config": {"url": receiver.url("/tell"), "payload": "{{ steps.fetch.output }}"},
                "depends_on": ["fetch"],
            },
        ],
    }


async def test_runs_complete_over_postgresql(site: Site, receiver: Receiver) -> None:
    workflow = await site.define(definition(receiver))
    runs = await asyncio.gather(*(site.run(workflow) for _ in range(9)))
    await site.completed(workflow, 9)
    wanted = {f"{run.removeprefix('run_')}/tell/-/1": 1 for run in runs}
    assert receiver.keys("/tell") == wanted


async def test_a_second_worker_takes_over(site: Site, receiver: Receiver) -> None:
    workflow = await site.define(definition(receiver))
    first = site.processes.pop("worker")
    site.start("worker")
    runs = await asyncio.gather(*(site.run(workflow) for _ in range(6)))
    first.kill()
    first.wait()
    await site.completed(workflow, 6)
    wanted = {f"{run.removeprefix('run_')}/tell/-/1" for run in runs}
    assert set(receiver.keys("/tell")) == wanted


async def test_a_key_revoked_at_one_api_is_refused_by_the_other(site: Site) -> None:
    """And what the other one did until it was stopped is in the log, call by call."""
    first, port = site.processes.pop("api"), free_port()
    site.start("api", SIGNALBOX_PORT=str(port))
    second, site.processes["api"] = site.processes["api"], first
    made = await site.http.post("/api/keys", json={"name": "partner", "role": "viewer"})
    headers = {
        "Authorization": f"Bearer {made.json()['secret']}",
        "X-Forwarded-For": "203.0.113.7",
    }
    succeeded: list[float] = []

    async def hammer(client: httpx2.AsyncClient) -> None:
        sent = time.monotonic()
        while (await client.get("/v1/utils/authtest")).status_code == 200:
            succeeded.append(sent)
            await asyncio.sleep(0.05)
            sent = time.monotonic()

    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
            await answers(client)
            hammers = [asyncio.create_task(hammer(client)) for _ in range(5)]
            async with asyncio.timeout(30):
                while len(succeeded) < 20:
                    await asyncio.sleep(0.05)
            key = f"/api/keys/{made.json()['id']}"
            assert (await site.http.post(f"{key}/revoke")).status_code == 200
            revoked = time.monotonic()
            async with asyncio.timeout(30):
                await asyncio.gather(*hammers)
        assert max(succeeded) - revoked <= 1, "whatever was sent later than that was refused"
    finally:
        second.terminate()
        await asyncio.to_thread(second.wait, 30)
    calls = await audited(site, made.json()["id"])
    assert len(calls) == len(succeeded)
    assert {(call["status"], call["client_ip"]) for call in calls} == {(200, "203.0.113.7")}


async def answers(client: httpx2.AsyncClient) -> None:
    """Wait until the process serves requests."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await client.get("/healthz")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


async def audited(site: Site, key_id: str) -> list[dict[str, Any]]:
    """All calls of a key."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"key_id": key_id, "limit": 50}
    while True:
        page = (await site.http.get("/api/audit", params=query)).json()
        found += page["calls"]
        if not page["has_more"]:
            return found
        query["before"] = found[-1]["id"]


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_many_clients_with_one_key_get_one_run_of_two_apis(site: Site) -> None:
    first, port = site.processes.pop("api"), free_port()
    site.start("api", SIGNALBOX_PORT=str(port))
    second, site.processes["api"] = site.processes["api"], first
    urls = [str(site.http.base_url), f"http://127.0.0.1:{port}"]
    try:
        async with httpx2.AsyncClient(base_url=urls[1], trust_env=False) as client:
            await answers(client)
        await one_run_a_round(site, urls, 100)
    finally:
        second.terminate()
        await asyncio.to_thread(second.wait, 30)


async def test_a_second_api_serves_the_same(site: Site, receiver: Receiver) -> None:
    workflow = await site.define(definition(receiver))
    run = await site.run(workflow, key="the same")
    first, port = site.processes.pop("api"), free_port()
    site.start("api", SIGNALBOX_PORT=str(port))
    try:
        site.http.base_url = f"http://127.0.0.1:{port}"
        await site.ready()
        assert await site.run(workflow, key="the same") == run
        await site.completed(workflow, 1)
        stream = await site.http.get(f"/api/workflows/runs/{run}/stream")
        told = [line for line in stream.text.splitlines() if line.startswith("data:")]
        assert json.loads(told[-1].removeprefix("data:"))["status"] == "completed"
        assert [line for line in stream.text.splitlines() if line.startswith("id:")] == [
            f"id: {number}" for number in range(1, len(told) + 1)
        ]
    finally:
        first.kill()
        first.wait()
