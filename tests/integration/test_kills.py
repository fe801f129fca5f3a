"""What is accepted is done, whatever is killed with -9 and whenever.

Three HTTP steps a run: a local one, an ordinary one, and one that is handed over from the first
lane to the second. Judged at the receiver: every step's effect is there, and what is delivered
twice carries the same key. `make chaos` does the same with 200 runs.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator

import pytest

from activities.perform import HAND_OVER
from tests.integration.site import PARTS, Part, Site
from tests.receiver import Receiver

VICTIMS: dict[str, tuple[Part, ...]] = {
    "worker": ("worker",),
    "temporal": ("temporal",),
    "api": ("api",),
    "everything": PARTS,
}


def definition(receiver: Receiver) -> dict[str, object]:
    def step(name: str, path: str, after: list[str], **more: object) -> dict[str, object]:
        config = {"method": "POST", "url": receiver.url(path), "body": "{{ run.id }}"}
        return {"id": name, "type": "http_request", "config": config, "depends_on": after, **more}

    return {
        "name": "three",
        "steps": [
            step("local", "/slow/0.2/local", []),
            step("ordinary", "/slow/0.3/ordinary", ["local"], local=False),
            step("moved", "/slow/2/moved", ["ordinary"]),
        ],
    }


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("site"), limit=200) as site:
        yield site


async def survive(
    site: Site, receiver: Receiver, victims: tuple[Part, ...], count: int, kills: int
) -> None:
    """Start runs, kill while they run, and look at what the receiver saw."""
    workflow = await site.define(definition(receiver))
    starting = [asyncio.create_task(site.run(workflow)) for _ in range(count)]
    for _ in range(kills):
        # In the middle of things, wherever that is this time.
        await asyncio.sleep(random.uniform(0.3, 1.5))
        for victim in victims:
            site.kill(victim)
        await asyncio.sleep(0.2)
        for victim in victims:
            site.start(victim)
        await site.ready()
    runs = await asyncio.gather(*starting)
    assert len(set(runs)) == count
    await site.completed(workflow, count, patience=60 + count * 2)
    assert set(await site.statuses(workflow)) == set(runs)
    deliveries = len(receiver.deliveries)
    print(f"{victims}: {count} runs, {kills} kills, {deliveries - 3 * count} repeated deliveries")
    for name in ("local", "ordinary", "moved"):
        wanted = {f"{run.removeprefix('run_')}/{name}/-/1" for run in runs}
        assert set(receiver.keys(f"/slow/{receiver_path(name)}")) == wanted


def receiver_path(name: str) -> str:
    return {"local": "0.2/local", "ordinary": "0.3/ordinary", "moved": "2/moved"}[name]


@pytest.mark.parametrize(
    "victims",
    [pytest.param(name, marks=[] if name == "worker" else [pytest.mark.slow]) for name in VICTIMS],
)
async def test_nothing_is_lost(site: Site, receiver: Receiver, victims: str) -> None:
    await survive(site, receiver, VICTIMS[victims], count=8, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("before", [0.2, 0.0, -0.2])
async def test_a_kill_around_the_hand_over_loses_nothing(
    site: Site, receiver: Receiver, before: float
) -> None:
    """Steps that go from one lane to the other at the moment at which their worker dies."""
    config = {"method": "POST", "url": receiver.url("/first/60/{{ run.id }}")}
    steps = [{"id": "handed", "type": "http_request", "config": config}]
    workflow = await site.define({"name": "one", "steps": steps})
    runs = await asyncio.gather(*(site.run(workflow) for _ in range(8)))
    async with asyncio.timeout(60):
        while receiver.count("/first") < len(runs):
            await asyncio.sleep(0.02)
    await asyncio.sleep(HAND_OVER - before)
    site.kill("worker")
    site.start("worker")
    await site.completed(workflow, len(runs))
    wanted = {f"{run.removeprefix('run_')}/handed/-/1" for run in runs}
    assert set(receiver.keys("/first")) == wanted


@pytest.mark.slow
async def test_a_start_in_the_future_outlives_every_process(site: Site) -> None:
    """All are dead at its time; it is made up for, once."""
    name = f"later {secrets.token_hex(4)}"
    steps = [{"id": "one", "type": "transform", "config": {"output": 1}}]
    workflow = await site.define({"name": name, "steps": steps})
    # Nobody may be left by then, on a busy machine either.
    at = int(time.time()) + 15
    planned = await site.http.post(f"/v1/workflows/{name}/schedule", json={"scheduled_for": at})
    assert planned.status_code == 201, planned.text
    for part in PARTS:
        site.kill(part)
    await asyncio.sleep(max(at + 1 - time.time(), 0))
    for part in PARTS:
        site.start(part)
    await site.ready()
    await site.completed(workflow, 1)
    assert len(await site.statuses(workflow)) == 1
    found = (await site.http.get(f"/v1/workflows/schedules/{planned.json()['id']}")).json()
    assert found["fired_at"] >= at
    assert found["canceled_at"] is None


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("victims", VICTIMS)
async def test_nothing_is_lost_of_two_hundred(site: Site, receiver: Receiver, victims: str) -> None:
    await survive(site, receiver, VICTIMS[victims], count=200, kills=3)
