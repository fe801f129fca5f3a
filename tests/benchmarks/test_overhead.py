"""What the interpreter costs against a hand-written workflow, as ratios within one run.

The same three HTTP steps on the same Temporal server, each started over HTTP, with API and worker
as processes of their own. The contenders take turns in every round, so that a noisy machine is
noisy for all. A run is over when Temporal says so. CPU is that of API, worker and Temporal server.

    make bench ROUNDS=5
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
import pytest
from temporalio.client import Client

from app.embedded.ports import free_port
from tests.integration.site import KEY, Site
from tests.receiver import Receiver

ROUNDS = int(os.environ.get("ROUNDS", "5"))
ALONE, TOGETHER, AT_ONCE = 15, 100, 20
BASE = "hand-written"
#: What DESIGN hopes for: wall p50 and CPU against the hand-written one.
GOALS = {"ordinary": (1.25, 1.35), "local first": (0.7, 0.6)}


@dataclass
class Contender:
    """One way to run the three steps."""

    name: str
    start: Callable[[], Awaitable[str]]
    #: Temporal, API, worker.
    processes: list[psutil.Process]
    wall: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    parts: list[list[float]] = field(default_factory=list)

    def spent(self) -> list[float]:
        """Seconds of CPU of each of its processes so far."""
        return [sum(process.cpu_times()[:2]) for process in self.processes]


def steps(receiver: Receiver, **more: object) -> dict[str, object]:
    names = ["one", "two", "three"]
    return {
        "name": "three",
        "steps": [
            {
                "id": name,
                "type": "http_request",
                "config": {"url": receiver.url(f"/{name}")},
                "depends_on": names[max(0, index - 1) : index],
                **more,
            }
            for index, name in enumerate(names)
        ],
    }


@pytest.fixture
async def contenders(tmp_path: Path, receiver: Receiver) -> AsyncIterator[list[Contender]]:
    async with Site(tmp_path / "site", limit=1_000) as site:
        port = free_port()
        environment = {
            **os.environ,
            "TEMPORAL_ADDRESS": f"127.0.0.1:{site.temporal_port}",
            "RECEIVER": receiver.url(""),
        }
        module = [sys.executable, "-m", "tests.benchmarks.hand_written"]
        ours = [
            subprocess.Popen([*module, "api", str(port)], env=environment),
            subprocess.Popen([*module, "worker"], env=environment),
        ]
        http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
        temporal = psutil.Process(site.processes["temporal"].pid)

        async def hand_written() -> str:
            answer = await http.post("/run")
            run_id: str = answer.json()["run_id"]
            return run_id

        def signalbox(workflow: str) -> Callable[[], Awaitable[str]]:
            async def start() -> str:
                answer = await site.http.post(
                    f"/api/workflows/{workflow}/run",
                    json={},
                    headers={"Authorization": f"Bearer {KEY}"},
                )
                return f"run/{answer.json()['run_id'].removeprefix('run_')}/1"

            return start

        parts = [psutil.Process(site.processes[part].pid) for part in ("api", "worker")]
        local = await site.define(steps(receiver))
        ordinary = await site.define(steps(receiver, local=False))
        try:
            yield [
                Contender(
                    BASE, hand_written, [temporal, *(psutil.Process(one.pid) for one in ours)]
                ),
                Contender("ordinary", signalbox(ordinary), [temporal, *parts]),
                Contender("local first", signalbox(local), [temporal, *parts]),
            ]
        finally:
            await http.aclose()
            for process in ours:
                process.kill()
                process.wait()


async def measure(client: Client, contender: Contender) -> None:
    async def one() -> float:
        began = time.perf_counter()
        await client.get_workflow_handle(await contender.start()).result()
        return time.perf_counter() - began

    contender.wall.append(statistics.median([await one() for _ in range(ALONE)]))
    places = asyncio.Semaphore(AT_ONCE)

    async def in_turn() -> None:
        async with places:
            await one()

    spent, began = contender.spent(), time.perf_counter()
    await asyncio.gather(*(in_turn() for _ in range(TOGETHER)))
    contender.throughput.append(TOGETHER / (time.perf_counter() - began))
    parts = [
        (after - before) / TOGETHER for before, after in zip(spent, contender.spent(), strict=True)
    ]
    contender.parts.append(parts)
    contender.cpu.append(sum(parts))


@pytest.mark.benchmark
@pytest.mark.timeout(3_000)
async def test_overhead(contenders: list[Contender]) -> None:
    address = contenders[0].processes[0].cmdline()
    client = await Client.connect(f"127.0.0.1:{address[address.index('--port') + 1]}")
    for contender in contenders:
        for _ in range(60):
            try:
                await client.get_workflow_handle(await contender.start()).result()
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.5)
    for _ in range(ROUNDS):
        for contender in contenders:
            await measure(client, contender)
    base = contenders[0]
    for contender in contenders:
        print(f"\n{contender.name}: ", end="")
        for name, unit, scale in (("wall", "ms", 1e3), ("throughput", "/s", 1), ("cpu", "ms", 1e3)):
            mine, theirs = getattr(contender, name), getattr(base, name)
            ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
            print(
                f"{name} {statistics.median(mine) * scale:.0f} {unit},"
                f" ratio {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f})",
                end="; ",
            )
        server, api, worker = (
            statistics.median(part) * 1e3 for part in zip(*contender.parts, strict=True)
        )
        print(f"Temporal {server:.0f}, API {api:.0f}, worker {worker:.0f} ms; ", end="")
        if contender.name in GOALS:
            print("goals: wall {}, cpu {}".format(*GOALS[contender.name]), end="")
    # A regression of the order of the work itself must not pass unseen.
    for contender in contenders[1:]:
        ratios = [a / b for a, b in zip(contender.cpu, base.cpu, strict=True)]
        assert statistics.median(ratios) < 3
