"""What a lane of a batch costs, by the way in which it is carried out (`tests.benchmarks.lanes`).

Every way has a Temporal server, a worker and a database of its own, one after the other. CPU counts
more than time, because a machine is seldom quiet. `docs/decisions/0015` has figures.

    make bench LANES=10000
"""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from app.embedded import temporal_server
from app.embedded.ports import free_port
from tests.benchmarks import lanes
from tests.benchmarks.lanes import QUEUE, Lanes, Plan

LANES = int(os.environ.get("LANES", "1000"))
#: Each way with the lanes of its windows; the last one is what Signalbox does.
WAYS = (
    ("child", 100),
    ("coroutine", 100),
    ("ordinary", 100),
    ("nested", 100),
    ("window", 100),
    ("window", 500),
)
#: What is closed and was measured; it is seen some time after it has come to pass.
_CLOSED = "ExecutionStatus != 'Running' AND WorkflowId STARTS_WITH 'batch'"


class Cost(NamedTuple):
    """Of one way: seconds, CPU seconds of server and worker, and what Temporal has kept of it."""

    wall: float
    server: float
    worker: float
    events: int
    longest: int
    history: int
    database: int

    @property
    def cpu(self) -> float:
        return self.server + self.worker


def executions(way: str, window: int) -> int:
    """How many executions of workflows the lanes take."""
    if way in lanes.BY_LANE:
        return ceil(LANES / lanes.PER_EXECUTION) + (LANES if way == "child" else 0)
    return 1 + (ceil(LANES / window) if way == "nested" else 0)


def spent(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])


def size(file: Path) -> int:
    """Bytes of a database that nobody has open, without what is left of its log."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file.stat().st_size


@asynccontextmanager
async def serving(file: Path) -> AsyncIterator[tuple[Client, subprocess.Popen[bytes]]]:
    port = free_port()
    server = subprocess.Popen(
        temporal_server.command(temporal_server.find(), port, file), stdout=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                client = await Client.connect(f"127.0.0.1:{port}")
                await client.count_workflows("")
                break
            except (RPCError, RuntimeError):
                await asyncio.sleep(0.2)
        yield client, server
    finally:
        server.terminate()
        server.wait()


async def measure(directory: Path, way: str, window: int) -> Cost:
    directory.mkdir()
    ours, theirs = directory / "lanes.db", directory / "temporal.db"
    lanes.prepare(ours, LANES)
    async with serving(theirs) as (client, server):
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.lanes", str(ours)],
            env={**os.environ, "TEMPORAL_ADDRESS": client.service_client.config.target_host},
        )
        try:
            await client.execute_workflow(
                Lanes.run, Plan(way, 0, 0, window), id="warm", task_queue=QUEUE
            )
            processes = [psutil.Process(one.pid) for one in (server, worker)]
            before, began = [spent(one) for one in processes], time.perf_counter()
            await client.execute_workflow(
                Lanes.run, Plan(way, 0, LANES, window), id="batch", task_queue=QUEUE
            )
            wall = time.perf_counter() - began
            while (await client.count_workflows(_CLOSED)).count < executions(way, window):
                await asyncio.sleep(0.1)
            after = [spent(one) for one in processes]
            done = [one async for one in client.list_workflows(_CLOSED)]
        finally:
            worker.kill()
            worker.wait()
    assert lanes.completed(ours) == LANES
    lengths = [one.history_length for one in done]
    return Cost(
        wall,
        *(after - before for before, after in zip(before, after, strict=True)),
        events=sum(lengths),
        longest=max(lengths),
        history=sum(one.raw_info.history_size_bytes for one in done),
        database=size(theirs),
    )


@pytest.mark.benchmark
@pytest.mark.timeout(3_000)
async def test_lanes(tmp_path: Path) -> None:
    costs = {}
    for way, window in WAYS:
        name = f"{way} {window}"
        costs[name] = cost = await measure(tmp_path / name.replace(" ", "-"), way, window)
        print(
            f"\n{name}: {cost.wall:.2f} s, {LANES / cost.wall:.0f} lanes/s; CPU a lane"
            f" {cost.cpu / LANES * 1e3:.2f} ms (server {cost.server / LANES * 1e3:.2f},"
            f" worker {cost.worker / LANES * 1e3:.2f}); {cost.events / LANES:.2f} events a lane,"
            f" at most {cost.longest} in a history; {cost.history / LANES:.0f} bytes of history"
            f" a lane; Temporal's file {cost.database / 1e6:.2f} MB",
            end="",
        )
    print()
    # What the decision stands on: nothing else comes near, whatever the machine is like.
    others = [cost for name, cost in costs.items() if not name.startswith("window")]
    assert 2 * costs["window 500"].cpu < min(cost.cpu for cost in others)
    assert costs["window 500"].events < min(cost.events for cost in others)
