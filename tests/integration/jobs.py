"""Batches over HTTP, as a user of `/api/v1` starts and follows them."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import psutil
from temporalio.client import Client

from store import entities
from store.database import Database, Tx
from tests.integration.site import PATIENCE, Site

#: Seconds between two looks at a job.
LOOK = 0.25


@dataclass
class Followed:
    """What was seen of a job while it went on.

    Attributes:
        samples: `progress` at each look, in time.
        memory: bytes of the worker at each look.
    """

    job: dict[str, Any]
    seconds: float
    samples: list[dict[str, int]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


@dataclass
class Jobs:
    """Starts jobs over records of a type of its own."""

    site: Site
    type_id: str = ""
    entity_ids: list[str] = field(default_factory=list)

    async def records(self, rows: Sequence[dict[str, Any]]) -> None:
        """Import the records, and learn their ids."""
        name = f"Article {uuid4().hex[:8]}"
        fields = [{"name": "title", "type": "text"}, {"name": "rank", "type": "number"}]
        made = await self._post(
            "/entity-types", 201, json={"name": name, "pluralName": f"{name}s", "fields": fields}
        )
        self.type_id = made["id"]
        imported = await self._post(
            "/entities/import",
            200,
            params={"entityTypeId": self.type_id},
            content="\n".join(json.dumps({"fields": row}) for row in rows),
            headers={"content-type": "application/x-ndjson"},
            timeout=600,
        )
        assert (imported["imported"], imported["failed"]) == (len(rows), 0)
        self.entity_ids = await self._ids()

    async def _ids(self) -> list[str]:
        database = Database(self.site.database_url)

        def work(tx: Tx) -> list[str]:
            found: list[str] = []
            last = None
            org = tx.exec_driver_sql("SELECT id FROM organisations WHERE name = 'default'").scalar()
            while page := entities.after(tx, str(org), self.type_id, last, 5_000):
                found += [row.id for row in page]
                last = page[-1]
            return found

        try:
            return await database.read(work)
        finally:
            await database.close()

    async def workflow(self, *steps: dict[str, Any]) -> str:
        made = await self._post(
            "/workflows",
            201,
            json={"name": "Articles", "entityTypeId": self.type_id, "steps": [*steps]},
        )
        return str(made["id"])

    async def run(self, workflow_id: str, **more: Any) -> str:
        answer = await self._post(
            f"/workflows/{workflow_id}/run",
            202,
            json={"entityIds": self.entity_ids, **more},
            timeout=120,
        )
        return str(answer["jobId"])

    async def job(self, job_id: str) -> dict[str, Any]:
        answer = await self.site.http.get(f"/api/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def past(self, job_id: str, done: int) -> int:
        """Wait until more entities are over than that; how many are."""
        deadline = time.monotonic() + PATIENCE
        while True:
            progress = (await self.job(job_id))["progress"]
            over: int = progress["completed"] + progress["failed"]
            if over > done:
                return over
            assert time.monotonic() < deadline, self.site.tail()
            await asyncio.sleep(0.02)

    async def _post(self, path: str, status: int, **more: Any) -> dict[str, Any]:
        answer = await self.site.http.post(f"/api/v1{path}", **more)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def follow(self, job_id: str, patience: float) -> Followed:
        """Look at the job until it is over; what the contract says of it holds at every look.

        Source: contracts §2.4.
        """
        began = time.monotonic()
        found = Followed({}, 0)
        before = (0, 0)
        while True:
            try:
                job = await self.job(job_id)
            except httpx2.TransportError:
                await asyncio.sleep(LOOK)
                continue
            progress = job["progress"]
            now = (progress["completed"], progress["failed"])
            assert progress["total"] == len(self.entity_ids)
            assert 0 <= sum(now) <= progress["total"]
            assert now[0] >= before[0]
            assert now[1] >= before[1]
            over = job["status"] in ("completed", "failed", "cancelled")
            assert (job["completedAt"] is not None) == over
            if job["status"] in ("completed", "failed"):
                assert sum(now) == progress["total"]
            found.samples.append(progress)
            found.memory += self._worker_memory()
            found.job, found.seconds, before = job, time.monotonic() - began, now
            if over:
                return found
            assert found.seconds < patience, (job, self.site.tail())
            await asyncio.sleep(LOOK)

    def _worker_memory(self) -> list[int]:
        process = self.site.processes.get("worker")
        try:
            return [psutil.Process(process.pid).memory_info().rss] if process else []
        except psutil.NoSuchProcess:
            return []

    async def history(self, job_id: str) -> int:
        """Events in the history of the job's first execution."""
        client = await Client.connect(f"127.0.0.1:{self.site.temporal_port}")
        described = await client.get_workflow_handle(f"run/{job_id}/1").describe()
        return described.history_length
