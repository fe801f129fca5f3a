"""A crash at every point of accepting a run: nothing accepted is missing or doubled.

The API dies by itself at the named place, as `kill -9` would end it. `make chaos` does it 20 times.
"""

import secrets
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.integration.site import Site

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


@pytest.mark.parametrize(
    ("point", "again"), [(point, True) for point in POINTS] + [("accept.after_commit", False)]
)
async def test_a_crash_loses_and_doubles_nothing(site: Site, point: str, again: bool) -> None:
    await crash(site, point, again=again)


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("point", POINTS)
async def test_twenty_crashes_lose_and_double_nothing(site: Site, point: str) -> None:
    for time in range(20):
        await crash(site, point, again=time % 2 == 0)
