"""Signalbox in production's shape: Temporal, worker and API, each a process that can be killed.

Nothing supervises them: what is killed stays dead until the test starts it again.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx2

from app.embedded import temporal_server
from app.embedded.ports import free_port
from store import migrate

Part = Literal["temporal", "worker", "api"]
PARTS: tuple[Part, ...] = ("temporal", "worker", "api")
#: Seconds for anything that a loaded machine may take long for.
PATIENCE = 60.0
KEY = secrets.token_urlsafe(32)


@dataclass
class Site:
    """The parts over one data directory; `async with` starts and ends them all."""

    directory: Path
    limit: int = 10
    database_url: str = ""
    more: Mapping[str, str] = field(default_factory=dict)
    processes: dict[Part, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    temporal_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.database_url = self.database_url or f"sqlite:///{self.directory / 'signalbox.db'}"
        self.http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(migrate.upgrade, self.database_url)
        for part in PARTS:
            self.start(part)
        await self.ready()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.http.aclose()
        for part in list(self.processes):
            self.kill(part)

    # --- parts ----------------------------------------------------------------------------

    def start(self, part: Part, **more: str) -> None:
        """Start a part; `more` is added to its environment."""
        environment = {
            **{name: value for name, value in os.environ.items() if "SIGNALBOX" not in name},
            "DATABASE_URL": self.database_url,
            "SIGNALBOX_DATA_DIR": str(self.directory),
            "SIGNALBOX_PORT": str(self.port),
            "SIGNALBOX_API_KEY": KEY,
            "SIGNALBOX_KEY_PEPPER": "pepper of the tests",
            "SIGNALBOX_EGRESS_ALLOW": "127.0.0.0/8",
            "WORKFLOW_MAX_CONCURRENT_RUNS": str(self.limit),
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.temporal_port}",
            **self.more,
            **more,
        }
        with (self.directory / f"{part}.log").open("ab") as log:
            self.processes[part] = subprocess.Popen(
                self._command(part), env=environment, stdout=log, stderr=log
            )

    def _command(self, part: Part) -> list[str]:
        match part:
            case "temporal":
                return temporal_server.command(
                    temporal_server.find(), self.temporal_port, self.directory / "temporal.db"
                )
            case "worker":
                return [sys.executable, "-m", "worker"]
            case "api":
                return [sys.executable, "-m", "app", "api"]

    def kill(self, part: Part) -> None:
        """`kill -9` the part and wait until it is gone."""
        process = self.processes.pop(part)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)

    async def gone(self, part: Part) -> None:
        """Wait until the part has died by itself."""
        process = self.processes.pop(part)
        await asyncio.to_thread(process.wait, PATIENCE)

    async def ready(self) -> None:
        """Wait until the service says that it is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if (await self.http.get("/readyz")).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)
        raise AssertionError(f"not ready; {self.tail()}")

    def tail(self) -> str:
        """The last lines of every part's log."""
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-1_500:]}" for log in logs)

    # --- the API --------------------------------------------------------------------------

    async def define(self, definition: dict[str, Any]) -> str:
        answer = await self.http.post("/api/workflows", json={"definition": definition})
        assert answer.status_code == 201, answer.text
        workflow_id: str = answer.json()["id"]
        return workflow_id

    async def run(self, workflow_id: str, key: str | None = None) -> str:
        """Start a run as a careful client does: with a key, until it is answered."""
        key = key or secrets.token_hex(8)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = await self.http.post(
                    f"/api/workflows/{workflow_id}/run",
                    json={"input_data": {}},
                    headers={"Idempotency-Key": key},
                )
                if answer.status_code == 202:
                    run_id: str = answer.json()["run_id"]
                    return run_id
                assert answer.status_code in (502, 503), answer.text
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, self.tail()
            await asyncio.sleep(0.2)

    async def statuses(self, workflow_id: str) -> dict[str, str]:
        """The status of every run of the workflow, by id."""
        found: dict[str, str] = {}
        while True:
            answer = await self.http.get(
                f"/api/workflows/{workflow_id}/runs", params={"limit": 200, "offset": len(found)}
            )
            page = answer.json()
            found |= {run["id"]: run["status"] for run in page["runs"]}
            if len(found) >= page["total"] or not page["runs"]:
                return found

    async def completed(self, workflow_id: str, count: int, patience: float = PATIENCE) -> float:
        """Wait until that many runs have completed; seconds that it took."""
        began = time.monotonic()
        statuses: dict[str, str] = {}
        while time.monotonic() - began < patience:
            try:
                statuses = await self.statuses(workflow_id)
            except httpx2.TransportError:
                await asyncio.sleep(0.2)
                continue
            bad = {
                run: status for run, status in statuses.items() if status in ("failed", "cancelled")
            }
            assert not bad, (bad, self.tail())
            if sum(status == "completed" for status in statuses.values()) >= count:
                return time.monotonic() - began
            await asyncio.sleep(0.25)
        raise AssertionError(f"{statuses}; {self.tail()}")
