"""The topology of `docker-compose.yml` without the containers.

PostgreSQL, a tuned Temporal server, and API and worker as processes of their own, two of each kind,
told of each other by the variables that the compose file sets and by nothing else.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.site import Site, free_port
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
