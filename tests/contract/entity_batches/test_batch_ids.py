"""Which ids a batch is asked for with: unknown ones, many, and with a prefix; contracts B-q9."""

from typing import Any

import httpx2

from app.services.batches import LARGEST_LIST
from engine.roles import Role
from tests.contract.conftest import Door
from tests.contract.entity_batches.flock import (
    JOBS,
    MADE,
    WORKFLOWS,
    products,
    refusal,
    started,
    workflow,
)


async def run(api: httpx2.AsyncClient, workflow_id: str, body: Any) -> httpx2.Response:
    return await api.post(f"{WORKFLOWS}/{workflow_id}/run", json=body)


async def none_made(api: httpx2.AsyncClient) -> bool:
    return bool((await api.get(JOBS)).json()["total"] == 0)


async def test_b_q9_one_unknown_id_among_ten_thousand_refuses_all(
    api: httpx2.AsyncClient, door: Door
) -> None:
    ids = await products(api, *(f"Product {n}" for n in range(10_000)))
    made = await workflow(api, MADE)
    vendor = (
        await api.post("/api/v1/entities", json={"entityTypeId": "Vendor", "fields": {}})
    ).json()["id"]
    async with door.client(await door.key(Role.ADMIN, "other")) as stranger:
        (foreign,) = await products(stranger, "Theirs")
    gone = ids[17]
    assert (await api.delete(f"/api/v1/entities/{gone}")).status_code == 200
    wrong = ["0" * 32, foreign, vendor, gone, "x", "DROP\u0000", f"cbvndr_{ids[3]}"]
    mixed = [*ids[:17], *ids[18:5_000], ids[0], *wrong, *ids[5_000:]]
    error = refusal(await run(api, made, {"entityIds": mixed}), 400)
    assert error["code"] == "validation_error"
    assert error["message"].startswith("7 of the entities are unknown or of another type: ")
    for one in wrong:
        assert f"'{one}'" in error["message"]
    assert [detail["path"] for detail in error["details"]] == [
        f"entityIds[{mixed.index(one)}]" for one in wrong
    ]
    assert all(
        one in detail["message"] for one, detail in zip(wrong, error["details"], strict=True)
    )
    odd = ["", "x" * 200_000, ids[20], "0" * 32, " "]
    error = refusal(await run(api, made, {"entityIds": odd}), 400)
    assert error["message"].startswith("4 of the entities are unknown or of another type: '', 'xx")
    places = [detail["path"] for detail in error["details"]]
    assert places == ["entityIds[0]", "entityIds[1]", "entityIds[3]", "entityIds[4]"]
    assert len(error["message"]) < 300
    single = refusal(await run(api, made, {"entityIds": [*ids[20:], foreign]}), 400)
    assert single["message"] == (f"One of the entities is unknown or of another type: '{foreign}'.")
    many = refusal(await run(api, made, {"entityIds": [f"x{n}" for n in range(150)]}), 400)
    assert len(many["details"]) == 100
    assert many["message"].endswith(" and 50 more.")
    assert await none_made(api)


async def test_a_hundred_thousand_ids_are_let_in_and_no_more(api: httpx2.AsyncClient) -> None:
    """They are none of ours: what is seen is that the body is read and judged."""
    ids = await products(api, "One")
    made = await workflow(api, MADE)
    unknown = [f"{n:032x}" for n in range(100_000)]
    error = refusal(await run(api, made, {"entityIds": [*unknown, *ids, *unknown[:9]]}), 400)
    assert error["message"] == "A job has at most 100,000 entities, and not 100,001."
    assert [detail["path"] for detail in error["details"]] == ["entityIds"]
    error = refusal(await run(api, made, {"entityIds": unknown}), 400)
    assert error["message"].startswith("100000 of the entities are unknown")
    # A megabyte is what other bodies may have, and 50,000 values.
    refusal(await api.post(WORKFLOWS, json={"name": unknown}), 413)
    error = refusal(await run(api, made, {"entityIds": ["x"] * 150_000}), 400)
    assert error["code"] == "bad_request"
    await api.aclose()


async def test_a_body_of_more_than_eight_megabytes_is_not_read(api: httpx2.AsyncClient) -> None:
    for path in (f"{WORKFLOWS}/x/run", f"{WORKFLOWS}/{'0' * 32}/run"):
        answer = await api.post(
            path,
            content=b" " * (LARGEST_LIST + 1),
            headers={"content-type": "application/json"},
        )
        refusal(answer, 413)


async def test_the_prefix_of_the_type_may_precede(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/api/v1/entities", json={"entityTypeId": "Vendor", "fields": {}})
    vendor = answer.json()["id"]
    await products(api, "One")
    made = await workflow(api, MADE, entityTypeId="Vendor")
    found = await started(api, made, [f"cbvndr_{vendor}", vendor])
    page = (await api.get(f"{JOBS}/{found}/entities")).json()
    assert [row["entityId"] for row in page["data"]] == [vendor]
    refusal(await run(api, made, {"entityIds": [f"cbsvc_{vendor}"]}), 400)
