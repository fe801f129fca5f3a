"""A crash at every point of accepting a run: nothing accepted is missing or doubled.

The API dies by itself at the named place, as `kill -9` would end it. `make chaos` does it 20 times.
And without a crash: what many clients send at once with one key is accepted once.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.integration.one_key import one_run_a_round
from tests.integration.site import PATIENCE, Site

#: Whether the run is there before the client tries again.
POINTS = {
    "accept.before_commit": False,
    "accept.after_commit": True,
    "accept.after_dispatch": True,
}
DEFINITION = {
    "name": "accepted",
    "steps": [{"id": "one", "type": "transform", "config": {"output": "{{ run.id }}"}}],
}


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("accept")) as site:
        yield site


async def crash(site: Site, point: str, *, again: bool) -> None:
    """Let the API die at the point; the client tries again with its key, or never comes back."""
    workflow = await site.define(DEFINITION)
    site.kill("api")
    site.start("api", SIGNALBOX_FAILPOINT=point)
    await site.ready()
    key = secrets.token_hex(8)
    with pytest.raises(httpx2.TransportError):
        await site.http.post(
            f"/api/workflows/{workflow}/run",
            json={"input_data": {}},
            headers={"Idempotency-Key": key},
        )
    await site.gone("api")
    site.start("api")
    await site.ready()
    accepted = list(await site.statuses(workflow))
    assert len(accepted) == POINTS[point]
    if again:
        run = await site.run(workflow, key)
        assert accepted in ([run], [])
        accepted = [run]
    # Without a client it is the sweeper that starts what was accepted.
    await site.completed(workflow, len(accepted))
    assert list(await site.statuses(workflow)) == accepted


async def crash_by_name(site: Site, point: str) -> None:
    """The same on `/v1`: the key gets the same run, whenever the first request has died."""
    name = f"accepted {secrets.token_hex(4)}"
    workflow = await site.define({**DEFINITION, "name": name})
    url, key = f"/v1/workflows/{name}/run", {"Idempotency-Key": secrets.token_hex(8)}
    site.kill("api")
    site.start("api", SIGNALBOX_FAILPOINT=point)
    await site.ready()
    with pytest.raises(httpx2.TransportError):
        await site.http.post(url, json={"input": {"try": 1}}, headers=key)
    await site.gone("api")
    site.start("api")
    await site.ready()
    accepted = list(await site.statuses(workflow))
    assert len(accepted) == POINTS[point]
    answer = await insist(site, url, key)
    assert ("idempotent-replayed" in answer.headers) is POINTS[point]
    run = answer.json()["workflow_run_id"].replace("cbwr_", "run_")
    assert accepted in ([run], [])
    assert answer.json()["input"] == {"try": 1 if POINTS[point] else 2}
    await site.completed(workflow, 1)
    assert (await insist(site, url, key)).content == answer.content
    assert list(await site.statuses(workflow)) == [run]


async def insist(site: Site, url: str, key: dict[str, str]) -> httpx2.Response:
    """Try again as a careful client does, until it is answered."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = await site.http.post(url, json={"input": {"try": 2}}, headers=key)
        if answer.status_code == 201:
            return answer
        assert answer.status_code in (502, 503), answer.text
        assert time.monotonic() < deadline, site.tail()
        await asyncio.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "again"), [(point, True) for point in POINTS] + [("accept.after_commit", False)]
)
async def test_a_crash_loses_and_doubles_nothing(site: Site, point: str, again: bool) -> None:
    await crash(site, point, again=again)


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_and_the_same_key_again_are_one_run(site: Site, point: str) -> None:
    await crash_by_name(site, point)


async def test_many_clients_with_one_key_get_one_run(site: Site) -> None:
    await one_run_a_round(site, [str(site.http.base_url)], 5)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_many_clients_with_one_key_get_one_run_a_hundred_times(site: Site) -> None:
    await one_run_a_round(site, [str(site.http.base_url)], 100)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("point", POINTS)
async def test_twenty_crashes_lose_and_double_nothing(site: Site, point: str) -> None:
    for number in range(20):
        await crash(site, point, again=number % 2 == 0)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("point", POINTS)
async def test_twenty_crashes_and_the_same_keys_again_are_twenty_runs(
    site: Site, point: str
) -> None:
    for _ in range(20):
        await crash_by_name(site, point)
