"""`signalbox up` with everything real: starts, heals, stops, and goes on where it stopped."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from tests.integration.service import PATIENCE, Service, command

pytestmark = pytest.mark.timeout(300)

WAITING: dict[str, Any] = {
    "name": "waits",
    "steps": [
        {"id": "pause", "type": "wait", "config": {"duration": 3}},
        {
            "id": "answer",
            "type": "transform",
            "config": {"output": "{{ input.n + 1 }}"},
            "depends_on": ["pause"],
        },
    ],
}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = Service(tmp_path / "data")
    yield service
    await service.clean_up()


async def _is_ready(service: Service) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await service.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.1)


async def _start_run(service: Service, key: str, seconds: int = 3) -> str:
    pause, answer = WAITING["steps"]
    steps = [{**pause, "config": {"duration": seconds}}, answer]
    definition = {**WAITING, "steps": steps}
    made = await service.request("POST", "/api/workflows", key, {"definition": definition})
    assert made.status_code == 201, made.text
    url = f"/api/workflows/{made.json()['id']}/run"
    started = await service.request("POST", url, key, {"input_data": {"n": 1}})
    assert started.status_code == 202, started.text
    return str(started.json()["run_id"])


async def _finished(service: Service, key: str, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await service.get(f"/api/workflows/runs/{run_id}", key)
            run: dict[str, Any] = answer.json()["run"]
            if run["status"] in ("completed", "failed", "cancelled"):
                return run
            await asyncio.sleep(0.1)


async def test_it_starts_heals_and_stops(service: Service) -> None:
    await service.start()
    directory = service.directory
    assert directory.stat().st_mode & 0o777 == 0o700
    for name in ("pepper", "secrets-key", "api-key", "signalbox.db", "temporal.db"):
        assert (directory / name).stat().st_mode & 0o077 == 0, name

    # The key is said once, before the line that others wait for.
    key = (directory / "api-key").read_text().strip()
    said = [line for line in service.lines if key in line]
    assert len(said) == 1
    assert service.lines.index(said[0]) < len(service.lines) - 1
    assert (await service.get("/api/workflows", key)).status_code == 200
    assert (await service.get("/api/workflows", key + "x")).status_code == 401

    # Temporal keeps histories for 30 days, and is where the directory says.
    address = (directory / "temporal-address").read_text().strip()
    client = await Client.connect(address)
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace="default")
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta().days == 30

    # A key that is made beside it works at once.
    status, out, err = await command(
        directory, "keys", "create", "--org", "acme", "--role", "viewer"
    )
    assert (status, err) == (0, "")
    other = out.splitlines()[-1]
    assert (await service.get("/api/workflows", other)).status_code == 200
    assert (
        await service.request("POST", "/api/workflows", other, {"definition": WAITING})
    ).status_code == 403

    # Whatever dies is started again, and a request that comes meanwhile only waits.
    for name, words in (
        ("worker", ("-m", "worker")),
        ("temporal", ("start-dev",)),
        ("api", ("-m", "api")),
    ):
        before = len(service.lines)
        old = await service.child(*words)
        old.kill()
        assert (await service.get("/healthz")).status_code == 200
        line = await service.line("starting it again in", after=before)
        assert line.startswith(f"{name:<8} | was ended by SIGKILL")
        await service.child(*words, other_than=old.pid)
        await _is_ready(service)

    run_id = await _start_run(service, key)
    assert (await _finished(service, key, run_id))["status"] == "completed"

    service.send(signal.SIGINT)
    assert await service.ended() == 0
    assert not (directory / "temporal-address").exists()


async def test_a_stream_ends_with_the_api_and_goes_on_with_the_next(service: Service) -> None:
    await service.start()
    key = (service.directory / "api-key").read_text().strip()
    run_id = await _start_run(service, key, seconds=3_600)
    seen = await _events(service, key, run_id, stop_at=2)
    assert seen[:2] == ["1", "2"]
    assert await service.ended() == 0
    assert not [line for line in service.lines if "ERROR" in line]

    again = Service(service.directory)
    try:
        await again.start()
        cancelled = await again.request("POST", f"/api/workflows/runs/{run_id}/cancel", key)
        assert cancelled.status_code in (200, 202)
        rest = await _events(again, key, run_id, after=int(seen[-1]))
        assert [*map(int, rest)] == [*range(len(seen) + 1, len(seen) + len(rest) + 1)]
        assert rest
        again.send(signal.SIGTERM)
        assert await again.ended() == 0
    finally:
        await again.clean_up()


async def _events(
    service: Service, key: str, run_id: str, after: int = 0, stop_at: int | None = None
) -> list[str]:
    """The numbers of the events of a run, to the end of the stream, which has to be one.

    At the event `stop_at` the service is told to stop.
    """
    seen: list[str] = []
    headers = {"Authorization": f"Bearer {key}", "Last-Event-ID": str(after)}
    url = f"{service.url}/api/workflows/runs/{run_id}/stream"
    async with (
        httpx2.AsyncClient(timeout=PATIENCE) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("id: "):
                seen.append(line.removeprefix("id: "))
                if len(seen) == stop_at:
                    service.send(signal.SIGINT)
    return seen


@pytest.mark.slow
async def test_a_kill_leaves_no_process_and_loses_no_run(service: Service) -> None:
    """What is started again on the same directory goes on."""
    await service.start()
    key = (service.directory / "api-key").read_text().strip()
    run_id = await _start_run(service, key)
    for words in (("start-dev",), ("-m", "worker"), ("-m", "api")):
        await service.child(*words)
    service.send(signal.SIGKILL)
    assert await service.ended() == -signal.SIGKILL

    again = Service(service.directory)
    try:
        await again.start()
        assert not [line for line in again.lines if key in line]
        assert [line for line in again.lines if str(service.directory / "api-key") in line]
        run = await _finished(again, key, run_id)
        assert run["status"] == "completed"
        assert [step["output"] for step in run["step_runs"]][1] == 2
        again.send(signal.SIGTERM)
        assert await again.ended() == 0
    finally:
        await again.clean_up()
