"""Cancelling at random moments: what was asked to stop has stopped, and soon.

Every run has a script that outlives the test and a chain of requests on all lanes. Judged from
outside: at the receiver by when requests arrive, and in the list of processes.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.site import PATIENCE, Site
from tests.receiver import Receiver
from tests.workflow.patience import until
from tests.workflow.test_cancel import processes

#: What the service promises, in seconds.
TERMINAL_WITHIN = 5.0
SILENT_AFTER = 2.0


@dataclass
class Seen:
    """What was seen of cancels: seconds by run, and when each was acknowledged.

    `scripts` and `requests` are those that were under way, summed over the cancels.
    """

    scripts: int = 0
    requests: int = 0
    terminal_after: dict[str, float] = field(default_factory=dict)
    acknowledged_at: dict[str, float] = field(default_factory=dict)

    def late(self, receiver: Receiver, grace: float) -> list[tuple[str, float]]:
        """Requests that arrived so long after the acknowledgement, with how long that was."""
        found = []
        for delivery in receiver.deliveries:
            run = delivery.path.rpartition("/")[2]
            after = delivery.at - self.acknowledged_at[run]
            if after > grace:
                found.append((delivery.path, after))
        return found


def definition(receiver: Receiver, marker: str) -> dict[str, Any]:
    def request(name: str, seconds: float, after: list[str], **more: object) -> dict[str, Any]:
        config = {"url": receiver.url(f"/slow/{seconds}/{name}/{{{{ run.id }}}}")}
        return {"id": name, "type": "http_request", "config": config, "depends_on": after, **more}

    script = {"language": "shell", "source": f"bash -c 'exec -a {marker} sleep 600'"}
    chain = [request("first", 0.2, [])]
    for number in range(6):
        lane: dict[str, object] = {"local": False} if number % 2 else {}
        before = str(chain[-1]["id"])
        chain.append(request(f"r{number}", 0.3, [before], **lane))
    return {
        "name": "cancelled",
        "steps": [
            {"id": "script", "type": "script", "config": script, "timeout": 900},
            *chain,
            request("moved", 4, ["first"]),
            request("ordinary", 4, ["first"], local=False),
            request("again", 1, ["moved"], retry={"max_attempts": 9, "delay": 0.1}),
        ],
    }


async def cancel(
    site: Site, receiver: Receiver, workflow: str, marker: str, wait: float, seen: Seen
) -> None:
    """Start a run, and cancel it after so many seconds."""
    run = await site.run(workflow)
    await asyncio.sleep(wait)
    seen.scripts += len(processes(marker))
    seen.requests += receiver.waiting
    url = f"/api/workflows/runs/{run}"
    began = time.monotonic()
    answer = await site.http.post(f"{url}/cancel")
    assert answer.status_code == 200, answer.text
    seen.acknowledged_at[run] = time.monotonic()
    status = answer.json()["status"]
    while status != "cancelled":
        assert time.monotonic() - began < PATIENCE, (run, status, site.tail())
        await asyncio.sleep(0.05)
        status = (await site.http.get(url)).json()["run"]["status"]
    seen.terminal_after[run] = time.monotonic() - began


async def cancel_many(site: Site, receiver: Receiver, count: int, at_once: int, seed: int) -> Seen:
    """Cancel so many runs, each at a moment of its own, and wait until all is quiet."""
    marker = f"c{uuid4().hex}"
    workflow = await site.define(definition(receiver, marker))
    chance, room, seen = random.Random(seed), asyncio.Semaphore(at_once), Seen()

    async def one(wait: float) -> None:
        async with room:
            await cancel(site, receiver, workflow, marker, wait, seen)

    await asyncio.gather(*(one(chance.uniform(0, 3)) for _ in range(count)))
    assert len(seen.terminal_after) == count
    # There was something to stop.
    assert seen.scripts
    assert seen.requests
    await until(lambda: not processes(marker), "a script is left")
    await until(lambda: receiver.waiting == 0, "a request is left")
    # What would still come, comes within this time.
    await asyncio.sleep(SILENT_AFTER + 1)
    assert {*(await site.statuses(workflow)).values()} == {"cancelled"}
    assert processes(marker) == []
    return seen


@pytest.fixture
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("site"), limit=100) as site:
        yield site


@pytest.mark.slow
async def test_cancelled_runs_stop(site: Site, receiver: Receiver) -> None:
    seen = await cancel_many(site, receiver, count=12, at_once=6, seed=12)
    # With more patience than is promised: the machine may be busy with other tests.
    assert seen.late(receiver, grace=SILENT_AFTER * 10) == []


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_two_hundred_cancelled_runs_stop_in_time(site: Site, receiver: Receiver) -> None:
    seen = await cancel_many(site, receiver, count=200, at_once=10, seed=200)
    slowest = sorted(seen.terminal_after.values())
    print(
        f"200 cancels: median {slowest[100]:.2f} s, slowest {slowest[-1]:.2f} s, "
        f"{len(receiver.deliveries)} requests"
    )
    assert slowest[-1] <= TERMINAL_WITHIN
    assert seen.late(receiver, grace=SILENT_AFTER) == []
