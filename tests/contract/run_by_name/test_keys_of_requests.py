"""What contracts §1.7 answers about idempotency keys: A-q1 to A-q6 and A-q16."""

import asyncio
from typing import Any

import httpx2
import pytest

from app.services import dispatch
from app.settings import Settings
from engine.roles import Role
from store import clock, idempotency, runs
from store.database import Tx
from store.tables import idempotency as rows
from tests.contract.conftest import Door
from tests.contract.run_by_name.definitions import SWEEP, create, open_api, quiet, until

URL = f"/v1/workflows/{SWEEP}/run"
LOC = ["header", "Idempotency-Key"]


def key(value: str) -> dict[str, str]:
    return {"idempotency-key": value}


async def runs_of(api: httpx2.AsyncClient) -> list[str]:
    answer = await api.get("/v1/workflows/runs?limit=500")
    return [run["workflow_run_id"] for run in answer.json()["data"]]


async def test_a_q1_a_key_counts_for_organisation_method_and_path(
    api: httpx2.AsyncClient, door: Door
) -> None:
    """The same ticket number used for two different workflow names starts two runs."""
    await create(api, quiet())
    await create(api, quiet("onboard-vendor"))
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        await create(other, quiet())
        answers = [
            await client.post(url, headers=key("ariba-req-7821"))
            for client, url in (
                (api, URL),
                (api, "/v1/workflows/onboard-vendor/run"),
                (other, URL),
            )
        ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["workflow_run_id"] for answer in answers}) == 3
    # Another spelling of the same path is the same path.
    encoded = SWEEP.replace("q", "%71")
    again = await api.post(f"/v1/workflows/{encoded}/run", headers=key("ariba-req-7821"))
    assert again.content == answers[0].content


@pytest.mark.parametrize("status", [403, 401, 404, 409, 422])
async def test_a_q2_only_success_is_remembered(
    api: httpx2.AsyncClient, door: Door, status: int
) -> None:
    """Nothing was created; the caller must be able to fix and retry."""
    if status != 404:
        workflow = await create(api, quiet(), status="paused" if status == 409 else "active")
    token = {403: None, 401: await door.key(Role.VIEWER)}.get(status, "")
    body: Any = {"input": []} if status == 422 else {}
    async with door.client(token) if token != "" else door.client() as client:
        refused = await client.post(URL, json=body, headers=key("k"))
    assert refused.status_code == status
    if status == 404:
        await create(api, quiet())
    if status == 409:
        await api.patch(f"/api/workflows/wf_{workflow}/status", json={"status": "active"})
    answer = await api.post(URL, headers=key("k"))
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


async def test_a_q2_the_same_key_finishes_a_failed_dispatch(
    settings: Settings, temporal: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry with the same key re-dispatches that same run and answers 201."""
    monkeypatch.setattr(dispatch, "PATIENCE", 1.0)
    async with open_api(settings, f"127.0.0.1:{unused_tcp_port}") as (_, api):
        await create(api, quiet())
        for _ in range(2):
            failed = await api.post(URL, json={"input": {"a": 1}}, headers=key("k"))
            (run_id,) = await runs_of(api)
            assert failed.status_code == 502
            assert failed.json() == {
                "detail": {
                    "code": "workflow_dispatch_failed",
                    "message": "Workflow run was created but could not be dispatched. "
                    f"Retry with the same workflow run id ({run_id}).",
                }
            }
    async with open_api(settings, temporal) as (_, api):
        answer = await api.post(URL, json={"input": {"b": 2}}, headers=key("k"))
        assert answer.status_code == 201
        assert answer.json()["workflow_run_id"] == run_id
        assert answer.json()["input"] == {"a": 1}
        again = await api.post(URL, headers=key("k"))
        assert (again.status_code, again.content) == (201, answer.content)
        assert await runs_of(api) == [run_id]


async def test_a_q3_simultaneous_requests_of_one_key_get_one_run(api: httpx2.AsyncClient) -> None:
    """The loser waits for the winner and returns its stored bytes. Never 409."""
    await create(api, quiet())
    answers = await asyncio.gather(
        *(api.post(URL, json={"input": {"n": n}}, headers=key("k")) for n in range(20))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(await runs_of(api)) == 1


async def test_a_q4_a_replay_stays_what_it_was(api: httpx2.AsyncClient, worker: None) -> None:
    """After the run finished, was renamed, disabled or deleted: the original stored bytes."""
    workflow = await create(api, quiet())
    first = await api.post(URL, json={"input": {"a": [1.50, "ä"]}}, headers=key("k"))
    run_id = first.json()["workflow_run_id"]
    await until(api, run_id, "completed")

    async def same() -> None:
        again = await api.post(URL, json={"input": {"another": 1}}, headers=key("k"))
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["content-type"] == first.headers["content-type"]

    await same()
    url = f"/api/workflows/wf_{workflow}"
    await api.patch(f"{url}/status", json={"status": "paused"})
    await same()
    await api.put(url, json={"definition": quiet("another name")})
    await same()
    digits = run_id.removeprefix("cbwr_")
    assert (await api.delete(f"/api/workflows/runs/run_{digits}")).status_code == 200
    assert (await api.delete(url)).status_code == 200
    await same()
    assert (await api.post(URL)).status_code == 404


async def test_a_q4_a_key_is_free_after_a_day_from_its_first_use(
    api: httpx2.AsyncClient, door: Door
) -> None:
    await create(api, quiet())
    first = await api.post(URL, headers=key("k"))

    async def age(hours: int) -> None:
        at = clock.now() - hours * clock.HOUR
        await door.database.write(lambda tx: tx.execute(rows.update().values(created_at=at)))

    await age(23)
    assert (await api.post(URL, headers=key("k"))).content == first.content
    await age(25)
    second = await api.post(URL, headers=key("k"))
    assert second.json()["workflow_run_id"] != first.json()["workflow_run_id"]

    def purge(tx: Tx) -> int:
        return idempotency.purge(tx, clock.now() - idempotency.REMEMBERED, 500)

    await age(25)
    await door.database.write(purge)
    assert await door.database.read(lambda tx: tx.execute(rows.select()).all()) == []


async def test_a_q5_the_syntax_of_a_key(api: httpx2.AsyncClient) -> None:
    """Trim; empty = absent; 1 to 255 characters, longer is a 422. Case-sensitive."""
    await create(api, quiet())
    for none in ("", "  "):
        answers = [await api.post(URL, headers=key(none)) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].content != answers[1].content
    longest = "k" * 255
    first = await api.post(URL, headers=key(longest))
    assert (await api.post(URL, headers=key(f"  {longest}\t"))).content == first.content
    assert (await api.post(URL, headers=key(longest.upper()))).content != first.content
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    wrong: list[Any] = [key("k" * 256), {"idempotency-key": "ä".encode()}, twice]
    for headers in wrong:
        answer = await api.post(URL, headers=headers)
        assert answer.status_code == 422
        assert [found["loc"] for found in answer.json()["detail"]] == [LOC]


async def test_a_q6_what_a_body_may_be(api: httpx2.AsyncClient) -> None:
    """Absent or `{}` is an empty input; unknown keys are ignored; all else is a 422."""
    await create(api, quiet())
    for body in (b"", b"{}", b'{"input": {}}', b'{"inputs": 1, "wait": true}'):
        answer = await api.post(URL, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["input"]) == (201, {}), body
    for body in (
        b"null",
        b"[]",
        b'"a"',
        b"{",
        b'{"input": null}',
        b'{"input": [1]}',
        b'{"a": NaN}',
    ):
        answer = await api.post(URL, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 422, body
        (found,) = answer.json()["detail"]
        assert {*found} == {"loc", "msg", "type"}
        assert found["loc"][0] == "body"


async def test_a_q6_the_input_is_compared_with_no_schema(api: httpx2.AsyncClient) -> None:
    """Its schema is workflow-specific and is not validated by this endpoint."""
    schema = {"type": "object", "required": ["due_date"]}
    workflow = await create(api, quiet(input_schema=schema))
    assert (await api.post(f"/api/workflows/wf_{workflow}/run")).status_code == 422
    assert (await api.post(URL)).status_code == 201


async def test_a_q16_without_a_key_the_sweeper_finishes_the_dispatch(
    settings: Settings, temporal: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry without a key creates a new run; the other one is picked up."""
    monkeypatch.setattr(dispatch, "PATIENCE", 1.0)
    async with open_api(settings, f"127.0.0.1:{unused_tcp_port}") as (_, api):
        await create(api, quiet())
        assert (await api.post(URL)).status_code == 502
    async with open_api(settings, temporal) as (app, api):
        assert (await api.post(URL)).status_code == 201
        assert len(await runs_of(api)) == 2
        async with asyncio.timeout(60):
            while await app.state.services.database.read(_undispatched):
                await asyncio.sleep(0.1)


def _undispatched(tx: Tx) -> list[str]:
    return [run.id for run in runs.undispatched(tx, 2**62, 10)]
