"""A real API on a real database and a real Temporal server."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from app.main import create_app
from app.settings import Settings
from engine.roles import Role
from store import keys, organisations
from store.database import Database, Tx
from worker.build import build
from worker.settings import Settings as WorkerSettings
from workflows.contract import DATA_CONVERTER

PEPPER = "pepper for tests only"
ADMIN = "a key of the tests, not a secret at all"
TUNED = (
    "--dynamic-config-value",
    "history.transferProcessorMaxPollRPS=2000",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="10ms"',
)


@contextlib.asynccontextmanager
async def serving_temporal(port: int | None = None) -> AsyncIterator[str]:
    """The address of a Temporal server of its own."""
    async with await WorkflowEnvironment.start_local(
        port=port,
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_extra_args=[*TUNED],
        dev_server_log_level="error",
    ) as environment:
        yield environment.client.service_client.config.target_host


@pytest.fixture(scope="session")
def temporal(server: WorkflowEnvironment) -> str:
    """The address of the server that all tests of a process share."""
    return server.client.service_client.config.target_host


@pytest.fixture
def settings(migrated: Path, tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path, key_pepper=PEPPER, api_key=ADMIN, task_queue=tmp_path.name)
    assert made.database_url == f"sqlite:///{tmp_path / migrated.name}"
    shutil.copy(migrated, tmp_path)
    return made


@contextlib.asynccontextmanager
async def running(settings: Settings, address: str) -> AsyncIterator[FastAPI]:
    """The app, with its lifespan, towards a Temporal at this address."""
    before = os.environ.get("TEMPORAL_ADDRESS")
    os.environ["TEMPORAL_ADDRESS"] = address
    try:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            yield app
    finally:
        os.environ.pop("TEMPORAL_ADDRESS")
        if before is not None:
            os.environ["TEMPORAL_ADDRESS"] = before


@pytest.fixture
async def app(settings: Settings, temporal: str) -> AsyncIterator[FastAPI]:
    async with running(settings, temporal) as app:
        yield app


@contextlib.asynccontextmanager
async def working(
    settings: Settings, address: str, variables: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[None]:
    """A worker on the same database and task queue, with these variables besides."""
    client = await Client.connect(address, data_converter=DATA_CONVERTER)
    database = Database(settings.database_url)
    worker_settings = WorkerSettings.model_validate(
        {
            "database_url": settings.database_url,
            "task_queue": settings.task_queue,
            "WORKFLOW_MAX_CONCURRENT_RUNS": settings.max_concurrent_runs,
            "script_sandbox": "none",
            **variables,
        }
    )
    try:
        async with (
            build(client, database, worker_settings, worker_id="test") as built,
            built.worker,
        ):
            yield
    finally:
        await database.close()


@pytest.fixture
async def worker(settings: Settings, temporal: str, app: FastAPI) -> AsyncIterator[None]:
    async with working(settings, temporal):
        yield


@dataclass
class Door:
    """How a test comes in: a client of the app, and keys of any role and organisation."""

    app: FastAPI
    database: Database

    async def key(self, role: Role, organisation: str = "default") -> str:
        token = keys.new_token()

        def work(tx: Tx) -> None:
            org_id = organisations.ensure(tx, organisation)
            keys.add(tx, org_id, "test", role, token, PEPPER.encode())

        await self.database.write(work)
        return token

    def client(self, token: str | None = ADMIN) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app),
            base_url="http://signalbox",
            headers=headers,
            timeout=30,
        )


@pytest.fixture
async def door(app: FastAPI) -> Door:
    return Door(app, app.state.services.database)


@pytest.fixture
async def api(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin of the organisation `default`."""
    async with door.client() as client:
        yield client


class _Server(uvicorn.Server):
    """A server that leaves the signals to the tests."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a port of its own, for what cannot be seen without a connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


@pytest.fixture
async def live(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin who comes in by a real connection."""
    async with (
        serving(app) as url,
        httpx2.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {ADMIN}"}, timeout=30
        ) as client,
    ):
        yield client
