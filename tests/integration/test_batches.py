"""Batches at scale: exact counters, one effect an entity, and an end when it is asked for.

Small forms of what `make chaos` does with 100,000 entities, and with the worker killed ten times.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.jobs import Followed, Jobs
from tests.integration.site import Site
from tests.postgresql import fresh
from tests.receiver import Receiver
from tests.workflow.patience import until

#: What the service promises after a cancel was acknowledged, in seconds.
SILENT_AFTER = 2.0
DECIDING: list[dict[str, Any]] = [
    {"type": "validate", "config": {"rules": [{"field": "title", "rule": "required"}]}},
    {
        "type": "transform",
        "config": {"transforms": [{"field": "title", "transform": "uppercase"}]},
    },
    {"type": "condition", "config": {"field": "rank", "operator": "gte", "value": 0}},
]


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


def articles(count: int) -> list[dict[str, Any]]:
    """Records of which one in ten has no title."""
    return [
        {"rank": n} if n % 10 == 9 else {"rank": n, "title": f"Article {n}"} for n in range(count)
    ]


async def decided(
    site: Site, count: int, kills: int = 0, patience: float = 120
) -> tuple[Jobs, Followed]:
    """A job of steps that decide, with the worker killed meanwhile; its counters are exact."""
    jobs = Jobs(site)
    await jobs.records(articles(count))
    job_id = await jobs.run(await jobs.workflow(*DECIDING))
    following = asyncio.create_task(jobs.follow(job_id, patience))
    done = 0
    for _ in range(kills):
        done = await jobs.past(job_id, done)
        # In the middle of things, wherever that is this time.
        await asyncio.sleep(random.uniform(0, 0.2))
        site.kill("worker")
        assert not following.done()
        site.start("worker")
    found = await following
    failed = count // 10
    progress = found.job["progress"]
    assert found.job["status"] == "completed"
    assert (progress["completed"], progress["failed"]) == (count - failed, failed)
    assert [
        (step["completed"], step["failed"], step["skipped"]) for step in found.job["steps"]
    ] == [(count - failed, failed, 0), (count - failed, 0, failed), (count - failed, 0, failed)]
    entity = (await site.http.get(f"/api/v1/entities/{jobs.entity_ids[0]}")).json()
    assert entity["fields"]["title"] == "ARTICLE 0"
    assert await jobs.history(job_id) <= 10_000
    return jobs, found


async def test_a_killed_worker_changes_no_counter(site: Site) -> None:
    await decided(site, 2_000, kills=2)


@pytest.mark.slow
async def test_the_same_over_postgresql(
    postgresql: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with fresh(postgresql) as url:
        async with Site(tmp_path_factory.mktemp("site"), database_url=url) as site:
            await decided(site, 3_000, kills=2)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
async def test_ten_kills_change_no_counter(site: Site) -> None:
    _, found = await decided(site, 10_000, kills=10, patience=900)
    print(f"10,000 entities and 10 kills: {found.seconds:.0f} s")


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_hundred_thousand_entities(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with Site(tmp_path_factory.mktemp("site")) as site:
        jobs, found = await decided(site, 100_000, patience=1_500)
        events = await jobs.history(found.job["id"])
        half = len(found.memory) // 2
        early, late = max(found.memory[:half]), max(found.memory[half:])
        print(
            f"100,000 entities: {found.seconds:.0f} s, {100_000 / found.seconds:.0f} a second, "
            f"{events} events, {len(found.samples)} looks, worker {min(found.memory) >> 20} to "
            f"{max(found.memory) >> 20} MiB, in the halves at most {early >> 20} and "
            f"{late >> 20} MiB"
        )
        assert late - early < 32 << 20


async def published(site: Site, receiver: Receiver, count: int) -> None:
    """Publish to a receiver that fails one call in twenty: each entity arrives, by its own key."""
    jobs = Jobs(site)
    await jobs.records([{"title": f"Article {n}"} for n in range(count)])
    path = "/each/20/published"
    workflow = await jobs.workflow(
        {
            "type": "publish",
            "config": {"target": {"url": receiver.url(path)}},
            "retry": {"maxAttempts": 10, "delay": 0.1},
        }
    )
    found = await jobs.follow(await jobs.run(workflow), patience=60 + count)
    assert found.job["status"] == "completed"
    assert found.job["progress"]["completed"] == count
    deliveries = receiver.keys(path)
    assert len(deliveries) == count
    calls = sum(deliveries.values())
    assert calls == count + calls // 20
    attempts = 0
    offset = 0
    while offset < count:
        answer = await site.http.get(
            f"/api/v1/jobs/{found.job['id']}/entities", params={"limit": 200, "offset": offset}
        )
        page = answer.json()["data"]
        assert {row["status"] for row in page} == {"completed"}
        attempts += sum(row["attempts"] for row in page)
        offset += len(page)
    assert attempts == calls
    print(f"{count} entities published by {calls} calls in {found.seconds:.1f} s")


async def test_each_entity_is_published_once(site: Site, receiver: Receiver) -> None:
    await published(site, receiver, 120)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_a_thousand_entities_are_published_once(site: Site, receiver: Receiver) -> None:
    await published(site, receiver, 1_000)


async def cancelled(site: Site, receiver: Receiver, count: int, grace: float) -> None:
    """Cancel in the middle: nothing begins so many seconds after the acknowledgement."""
    jobs = Jobs(site)
    await jobs.records([{"title": f"Article {n}"} for n in range(count)])
    workflow = await jobs.workflow(
        *(
            {
                "type": "publish",
                "config": {"target": {"url": receiver.url(f"/slow/0.3/{name}")}},
            }
            for name in ("first", "second", "third")
        )
    )
    job_id = await jobs.run(workflow, concurrency=10)
    await until(lambda: receiver.count("/slow/0.3/third") > 5, "nothing arrives")
    answer = await site.http.post(f"/api/v1/jobs/{job_id}/cancel")
    acknowledged = time.monotonic()
    assert answer.status_code == 200, answer.text
    found = await jobs.follow(job_id, patience=60)
    assert found.job["status"] == "cancelled"
    # What would still come, comes within this time.
    await asyncio.sleep(SILENT_AFTER + 1)
    arrived = len(receiver.deliveries)
    assert arrived < 3 * count
    late = [one.at - acknowledged for one in receiver.deliveries if one.at > acknowledged + grace]
    assert late == []
    again = await jobs.job(job_id)
    assert again["progress"] == found.job["progress"]
    last = max(one.at for one in receiver.deliveries) - acknowledged
    print(f"{arrived} of {3 * count} requests, the last {last:.2f} s after the acknowledgement")


async def test_a_cancel_in_the_middle(site: Site, receiver: Receiver) -> None:
    # With more patience than is promised: the machine may be busy with other tests.
    await cancelled(site, receiver, 60, grace=SILENT_AFTER * 10)


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_cancel_in_the_middle_is_in_time(site: Site, receiver: Receiver) -> None:
    await cancelled(site, receiver, 1_000, grace=SILENT_AFTER)
