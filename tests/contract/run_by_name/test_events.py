"""/v1/events, and the workflows that events start."""

import asyncio
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from engine.roles import Role
from store import clock, published, runs
from store.children import LONGEST_CHAIN
from tests.contract.conftest import Door
from tests.contract.full_engine.definitions import until

ECHO: dict[str, Any] = {
    "name": "Echo",
    "steps": [
        {
            "id": "tell",
            "type": "transform",
            "config": {
                "output": {
                    "name": "{{ event.name }}",
                    "data": "{{ event.data }}",
                    "entity": "{{ entity }}",
                    "same": "{{ input.event == event && input.entity == entity }}",
                }
            },
        }
    ],
    "output": "{{ {'from': event.id, 'told': steps.tell.output} }}",
}


async def bound(
    api: httpx2.AsyncClient, event: str = "Order.Placed", conditions: Any = None, **more: Any
) -> str:
    answer = await api.post(
        "/api/workflows",
        json={
            "definition": ECHO,
            "trigger_type": "event",
            "trigger": {"event": event, "conditions": conditions},
            **more,
        },
    )
    assert answer.status_code == 201, answer.text
    url: str = answer.headers["location"]
    return url


async def publish(
    api: httpx2.AsyncClient, name: str = "Order.Placed", key: str | None = None, **data: Any
) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await api.post("/v1/events", json={"name": name, "data": data}, headers=headers)


async def ended(api: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
    return await until(api, run_id, "completed", "failed")


async def runs_of(api: httpx2.AsyncClient, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"{url}/runs")).json()["runs"]
    return found


async def test_an_event_is_published_and_starts_what_is_bound_to_it(
    api: httpx2.AsyncClient, worker: None
) -> None:
    url = await bound(api, conditions="event.data.amount > 5")
    answer = await publish(api, amount=7)
    assert answer.status_code == 202
    told = answer.json()
    assert set(told) == {"event_id", "name", "received_at"}
    assert told["event_id"].startswith("cbevt_")
    assert told["name"] == "Order.Placed"
    assert abs(told["received_at"] - clock.now() // 1_000_000) < 60
    (run,) = await runs_of(api, url)
    assert (run["trigger"], run["event_id"]) == ("event", told["event_id"])
    page = await ended(api, run["id"])
    assert page["status"] == "completed"
    assert page["input_data"] == {
        "event": {"id": told["event_id"], "name": "Order.Placed", "data": {"amount": 7}},
        "entity": None,
    }
    assert page["output"] == {
        "from": told["event_id"],
        "told": {"name": "Order.Placed", "data": {"amount": 7}, "entity": None, "same": True},
    }
    shown = (await api.get(f"/v1/events/{told['event_id']}")).json()
    assert shown == told | {
        "data": {"amount": 7},
        "entity": None,
        "runs": [
            {
                "workflow_run_id": run["id"].replace("run_", "cbwr_"),
                "workflow_name": "Echo",
                "workflow_definition_id": url.rpartition("/")[2].replace("wf_", "cbwd_"),
                "status": "completed",
                "started_at": shown["runs"][0]["started_at"],
            }
        ],
    }
    quiet = (await publish(api, amount=5)).json()
    assert (await api.get(f"/v1/events/{quiet['event_id']}")).json()["runs"] == []
    assert len(await runs_of(api, url)) == 1
    assert (await api.get(f"/v1/workflows/runs/{shown['runs'][0]['workflow_run_id']}")).json()[
        "status"
    ] == "completed"


async def test_the_life_of_a_record_starts_workflows(api: httpx2.AsyncClient, worker: None) -> None:
    urls = {life: await bound(api, f"Vendor.{life}") for life in ("Created", "Updated", "Deleted")}
    gold = await bound(
        api,
        "Vendor.Updated",
        {
            "combiner": "all",
            "children": [{"rule_type": "field", "path": ["tier"], "op": "in", "value": ["gold"]}],
        },
    )
    other = await bound(api, "Service.Created")
    made = await api.post(
        "/api/v1/entities", json={"entityTypeId": "Vendor", "fields": {"name": "Acme"}}
    )
    entity = f"/api/v1/entities/{made.json()['id']}"
    for tier in ("silver", "silver", "gold"):
        await api.patch(entity, json={"fields": {"tier": tier}})
    for _ in range(2):
        await api.delete(entity)
        await api.post(f"{entity}/restore")
    expected = {"Created": 1, "Updated": 4, "Deleted": 2}
    for life, count in expected.items():
        assert len(await runs_of(api, urls[life])) == count, life
    assert len(await runs_of(api, other)) == 0
    # Changed to gold, and restored twice as such.
    assert len(await runs_of(api, gold)) == 3
    changed = [await ended(api, run["id"]) for run in await runs_of(api, urls["Updated"])]
    assert [run["input_data"]["event"]["data"] for run in changed[::-1]] == [
        {"changed": ["tier"]},
        {"changed": ["tier"]},
        {"changed": [], "restored": True},
        {"changed": [], "restored": True},
    ]
    assert changed[-1]["output"]["told"]["entity"] == {
        "id": made.json()["id"],
        "type": "Vendor",
        "fields": {"name": "Acme", "tier": "silver"},
    }


async def test_variables_of_events_are_null_in_other_runs(
    api: httpx2.AsyncClient, worker: None
) -> None:
    definition = {
        "name": "Either",
        "steps": [
            {
                "id": "tell",
                "type": "transform",
                "config": {"output": "{{ [event, entity, default(event.data.n, 0)] }}"},
            }
        ],
    }
    made = await api.post("/api/workflows", json={"definition": definition})
    forged = {"event": {"id": "cbevt_1", "name": "A.B", "data": {"n": 1}}}
    started = await api.post(
        f"{made.headers['location']}/run", json={"input_data": forged, "trigger": "event"}
    )
    page = await ended(api, started.json()["run_id"])
    assert page["output"] == [None, None, 0]
    assert page["event_id"] is None


async def test_the_same_key_publishes_once(api: httpx2.AsyncClient) -> None:
    url = await bound(api)
    answers = await asyncio.gather(*(publish(api, key="order-7", amount=n) for n in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers]
    assert replayed.count("true") == 9
    assert len(await runs_of(api, url)) == 1
    await publish(api, key="order-8")
    assert len(await runs_of(api, url)) == 2


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("Vendor.Created", 400),
        ("Service.Deleted", 400),
        ("Assessment.Created", 400),
        ("Assessment.Anything", 400),
        ("Vendor.Approved", 202),
        ("Nothing.Created", 202),
        ("order.placed", 202),
        ("", 422),
        ("a b", 422),
        ("x" * 201, 422),
    ],
)
async def test_what_happens_to_records_cannot_be_forged(
    api: httpx2.AsyncClient, name: str, status: int
) -> None:
    answer = await publish(api, name)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["detail"]["code"] == "event_name_reserved"


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "name"]),
        ({"name": "A.B", "data": [1]}, ["body", "data"]),
        ({"name": 7}, ["body", "name"]),
    ],
)
async def test_an_event_that_is_none(
    api: httpx2.AsyncClient, body: dict[str, Any], loc: list[str]
) -> None:
    answer = await api.post("/v1/events", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == loc


async def test_whose_event_it_is(door: Door, api: httpx2.AsyncClient) -> None:
    mine = (await publish(api)).json()["event_id"]
    url = await bound(api)
    async with door.client(await door.key(Role.ADMIN, "other")) as other:
        answers = [
            await other.get(f"/v1/events/{event}")
            for event in (mine, f"cbevt_{'f' * 32}", mine.removeprefix("cbevt_"), "x")
        ]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
        await publish(other)
    assert await runs_of(api, url) == []
    async with door.client(await door.key(Role.VIEWER)) as viewer:
        assert (await publish(viewer)).status_code == 401
        assert (await viewer.get(f"/v1/events/{mine}")).status_code == 200
    async with door.client(await door.key(Role.RUNNER)) as runner:
        assert (await publish(runner)).status_code == 202


# --- binding -----------------------------------------------------------------------------------


async def test_a_trigger_is_kept_shown_and_taken_away(api: httpx2.AsyncClient) -> None:
    url = await bound(api, conditions="true")
    trigger = {"event": "Order.Placed", "conditions": "true"}
    assert (await api.get(url)).json()["workflow"]["trigger"] == trigger
    listed = (await api.get("/api/workflows")).json()["workflows"]
    assert [row["trigger"] for row in listed] == [trigger]
    status = await api.patch(f"{url}/status", json={"status": "draft"})
    assert status.json()["workflow"]["trigger"] == trigger
    kept = await api.put(url, json={"definition": ECHO})
    assert kept.json()["workflow"]["trigger"] == trigger
    assert (await api.post(f"{url}/rollback", json={"version": 1})).json()["workflow"][
        "trigger"
    ] == trigger
    other = {"event": "Order.Paid", "conditions": None}
    moved = await api.put(url, json={"definition": ECHO, "trigger": {"event": "Order.Paid"}})
    assert moved.json()["workflow"]["trigger"] == other
    gone = await api.put(url, json={"definition": ECHO, "trigger_type": "manual"})
    assert gone.json()["workflow"]["trigger"] is None
    back = await api.put(url, json={"definition": ECHO, "trigger": other})
    assert back.json()["workflow"]["trigger_type"] == "event"


async def test_a_type_of_records_may_bring_blanks_into_a_trigger(api: httpx2.AsyncClient) -> None:
    url = await bound(api, "Purchase order.Created")
    trigger = (await api.get(url)).json()["workflow"]["trigger"]
    assert trigger["event"] == "Purchase order.Created"


async def test_only_what_is_active_starts(api: httpx2.AsyncClient) -> None:
    url = await bound(api, status="draft")
    await publish(api)
    for status, count in (("active", 1), ("paused", 1), ("archived", 1), ("active", 2)):
        await api.patch(f"{url}/status", json={"status": status})
        await publish(api)
        assert len(await runs_of(api, url)) == count
    await api.delete(url)
    event = (await publish(api)).json()["event_id"]
    assert (await api.get(f"/v1/events/{event}")).json()["runs"] == []


@pytest.mark.parametrize(
    ("trigger", "paths"),
    [
        ({"event": "A.B", "conditions": "1 +"}, ["trigger.conditions"]),
        ({"event": "A.B", "conditions": "input.x"}, ["trigger.conditions"]),
        ({"event": "A.B", "conditions": "1 + 1"}, ["trigger.conditions"]),
        (
            {"event": "A.B", "conditions": {"combiner": "some", "children": [{"op": "is"}]}},
            [
                "trigger.conditions.combiner",
                "trigger.conditions.children.0.rule_type",
                "trigger.conditions.children.0.path",
                "trigger.conditions.children.0.value",
            ],
        ),
        ({"event": "A.B", "conditions": 7}, ["body.trigger.conditions"]),
        ({"event": "a b"}, ["body.trigger.event"]),
        ({"conditions": "true"}, ["body.trigger.event"]),
        ({"event": "A.B", "more": 1}, ["body.trigger.more"]),
    ],
)
async def test_everything_that_is_wrong_with_a_trigger_is_told(
    api: httpx2.AsyncClient, trigger: Any, paths: list[str]
) -> None:
    body = {"definition": ECHO, "trigger_type": "event", "trigger": trigger}
    answer = await api.post("/api/workflows", json=body)
    assert answer.status_code == 422
    found = [problem["path"] for problem in answer.json()["problems"]]
    assert found[: len(paths)] == paths
    url = await bound(api)
    assert (await api.put(url, json=body)).status_code == 422


async def test_it_is_told_in_our_own_words(api: httpx2.AsyncClient) -> None:
    body = {
        "definition": ECHO,
        "trigger_type": "event",
        "trigger": {"event": "A.B", "conditions": [1]},
    }
    told = (await api.post("/api/workflows", json=body)).json()["errors"]
    assert told == ["body.trigger.conditions: it is an expression (text) or a tree (object)"]


async def test_a_trigger_goes_with_its_type(api: httpx2.AsyncClient) -> None:
    trigger = {"event": "A.B"}
    answer = await api.post("/api/workflows", json={"definition": ECHO, "trigger": trigger})
    assert answer.status_code == 422
    assert [problem["path"] for problem in answer.json()["problems"]] == ["trigger"]


async def test_what_could_not_be_started_is_shown(api: httpx2.AsyncClient) -> None:
    url = await bound(api, conditions="event.data.amount > 5")
    assert "trigger_failure" not in (await api.get(url)).json()["workflow"]
    event = (await publish(api, other="s3cr3t")).json()["event_id"]
    failure = (await api.get(url)).json()["workflow"]["trigger_failure"]
    assert failure["event_id"] == event
    assert "amount" in failure["message"]
    assert "s3cr3t" not in failure["message"]


async def test_an_input_that_does_not_fit_is_a_failed_run(api: httpx2.AsyncClient) -> None:
    schema = {"properties": {"event": {"properties": {"data": {"required": ["amount"]}}}}}
    answer = await api.post(
        "/api/workflows",
        json={
            "definition": ECHO | {"input_schema": schema},
            "trigger_type": "event",
            "trigger": {"event": "Order.Placed"},
        },
    )
    url = answer.headers["location"]
    await publish(api)
    (run,) = await runs_of(api, url)
    assert (run["status"], run["error"]["code"]) == ("failed", "input_invalid")
    resumed = await api.post(f"/api/workflows/runs/{run['id']}/resume", json={})
    assert resumed.status_code == 409
    assert (await api.get(url)).json()["workflow"]["trigger_failure"]["message"]


async def test_a_chain_over_http_ends(app: FastAPI, api: httpx2.AsyncClient) -> None:
    """A step that publishes sends its idempotency key, by which its run is known."""
    url = await bound(api)
    await publish(api)
    for depth in range(1, LONGEST_CHAIN + 1):
        last = (await runs_of(api, url))[0]["id"].removeprefix("run_")
        answer = await publish(api, key=f"{last}/tell/-/1")
        assert answer.status_code == 202
        started = await runs_of(api, url)
        assert len(started) == min(depth + 1, LONGEST_CHAIN)
    failure = (await api.get(url)).json()["workflow"]["trigger_failure"]
    assert "16 is the most" in failure["message"]
    database = app.state.services.database
    run = await database.read(lambda tx: runs.by_id(tx, started[0]["id"].removeprefix("run_")))
    assert run.depth == LONGEST_CHAIN - 1


async def test_old_events_go_when_no_open_run_needs_them(
    app: FastAPI, api: httpx2.AsyncClient
) -> None:
    url = await bound(api)
    needed = (await publish(api)).json()["event_id"]
    free = (await publish(api, "Order.Paid")).json()["event_id"]
    database, later = app.state.services.database, clock.now() + 1
    assert await database.write(lambda tx: published.purge(tx, 1, 10)) == 0
    assert await database.write(lambda tx: published.purge(tx, later, 10)) == 1
    assert (await api.get(f"/v1/events/{free}")).status_code == 404
    assert (await api.get(f"/v1/events/{needed}")).status_code == 200
    (run,) = await runs_of(api, url)
    await api.post(f"/api/workflows/runs/{run['id']}/cancel")
    assert await database.write(lambda tx: published.purge(tx, later, 10)) == 1
