"""POST /api/v1/entities/import over the wire."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.services.imports import BATCH, TOLD
from app.settings import Settings
from engine.roles import Role
from tests.contract.conftest import ADMIN, Door, running
from tests.contract.run_by_name.test_events import bound, runs_of

IMPORT = "/api/v1/entities/import"
NDJSON = {"content-type": "application/x-ndjson"}
VENDORS = {"entityTypeId": "Vendor"}


def lines(count: int, start: int = 0) -> str:
    return "\n".join(json.dumps({"fields": {"n": n}}) for n in range(start, start + count))


async def total(api: httpx2.AsyncClient, kind: str = "Vendor") -> int:
    answer = await api.get("/api/v1/entities", params={"entityTypeId": kind})
    count: int = answer.json()["total"]
    return count


async def test_json_ndjson_and_csv(api: httpx2.AsyncClient) -> None:
    document = VENDORS | {"entities": [{"fields": {"name": "A"}}, {"fields": {"name": "B"}}]}
    for body, kind, params in (
        (json.dumps(document), "application/json", {}),
        (json.dumps({"entities": document["entities"]}), "application/json", VENDORS),
        (json.dumps({"entities": document["entities"]} | VENDORS), "application/json", VENDORS),
        (lines(2), "application/x-ndjson", VENDORS),
        ("name,tier\nA,gold\nB,\n", "text/csv; charset=utf-8", VENDORS),
    ):
        answer = await api.post(IMPORT, content=body, params=params, headers={"content-type": kind})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"imported": 2, "failed": 0, "errors": []}
    assert await total(api) == 10
    page = await api.get("/api/v1/entities", params=VENDORS)
    assert {"name": "B"} in [row["fields"] for row in page.json()["data"]]


async def test_cells_become_what_their_fields_are(api: httpx2.AsyncClient) -> None:
    fields = [
        {"name": "Title", "slug": "title", "type": "text", "required": True},
        {"name": "Size", "slug": "size", "type": "number"},
        {"name": "Open", "slug": "open", "type": "boolean"},
        {"name": "Tags", "slug": "tags", "type": "multiSelect"},
    ]
    await api.post(
        "/api/v1/entity-types", json={"name": "Thing", "pluralName": "Things", "fields": fields}
    )
    body = 'Title,size,open,Tags\n007,1.5,TRUE,"x; y"\n8,12,false,\nc,many,no,\n,1,,\n'
    answer = await api.post(
        IMPORT,
        content=body,
        params={"entityTypeId": "Thing"},
        headers={"content-type": "text/csv"},
    )
    assert answer.json()["imported"] == 2
    assert [(error["row"], error["message"]) for error in answer.json()["errors"]] == [
        (3, "fields.size: must be a number; fields.open: must be true or false"),
        (4, "fields.title: is required"),
    ]
    page = (await api.get("/api/v1/entities", params={"entityTypeId": "Thing"})).json()["data"]
    assert {"title": "007", "size": 1.5, "open": True, "tags": ["x", "y"]} in [
        row["fields"] for row in page
    ]


async def test_a_field_has_one_column(api: httpx2.AsyncClient) -> None:
    fields = [{"name": "Title", "slug": "title", "type": "text"}]
    await api.post(
        "/api/v1/entity-types", json={"name": "Thing", "pluralName": "Things", "fields": fields}
    )
    answer = await api.post(
        IMPORT,
        content="Title,title\na,b\n",
        params={"entityTypeId": "Thing"},
        headers={"content-type": "text/csv"},
    )
    assert answer.status_code == 400
    assert "names field 'title' twice" in answer.json()["error"]["message"]
    assert await total(api, "Thing") == 0


async def test_errors_are_in_the_order_of_the_rows(api: httpx2.AsyncClient) -> None:
    fields = [{"name": "n", "type": "number"}]
    await api.post(
        "/api/v1/entity-types", json={"name": "Thing", "pluralName": "Things", "fields": fields}
    )
    body = "\n".join(['{"fields": {"n": "x"}}', "nope", '{"fields": {"m": 1}}', "nope"])
    answer = await api.post(IMPORT, content=body, params={"entityTypeId": "Thing"}, headers=NDJSON)
    assert [error["row"] for error in answer.json()["errors"]] == [1, 2, 3, 4]
    body = "\n".join(['{"fields": {"n": "x"}}', *["nope"] * TOLD])
    answer = await api.post(IMPORT, content=body, params={"entityTypeId": "Thing"}, headers=NDJSON)
    assert answer.json()["failed"] == TOLD + 1
    assert [error["row"] for error in answer.json()["errors"]] == list(range(1, TOLD + 1))


async def test_rows_that_fail_are_told_and_their_list_is_bounded(api: httpx2.AsyncClient) -> None:
    body = "\n".join([lines(BATCH), *["nope"] * (TOLD + 20), lines(3)])
    answer = await api.post(IMPORT, content=body, params=VENDORS, headers=NDJSON)
    done = answer.json()
    assert (done["imported"], done["failed"]) == (BATCH + 3, TOLD + 20)
    assert [error["row"] for error in done["errors"]] == list(range(BATCH + 1, BATCH + TOLD + 1))
    assert await total(api) == BATCH + 3


@pytest.mark.parametrize(
    ("body", "params", "headers", "status", "code"),
    [
        (lines(1), {}, NDJSON, 400, "validation_error"),
        (lines(1), {"entityTypeId": "Nothing"}, NDJSON, 400, "validation_error"),
        ("", {"entityTypeId": "Nothing"}, NDJSON, 400, "validation_error"),
        ('{"entities": [], "entityTypeId": "Vendor"', {}, {}, 400, "bad_request"),
        ('{"entityTypeId": "Service", "entities": []}', VENDORS, {}, 400, "validation_error"),
        (lines(1), VENDORS, {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (
            "n\n1",
            VENDORS,
            {"content-type": "text/csv;charset=latin1"},
            415,
            "unsupported_media_type",
        ),
        ('{"entities": [{"fields": {}}], "entityTypeId": "Vendor"}', {}, {}, 400, "bad_request"),
        (lines(1), VENDORS, NDJSON | {"Idempotency-Key": ""}, 400, "validation_error"),
    ],
)
async def test_what_is_refused_as_a_whole(
    api: httpx2.AsyncClient,
    body: str,
    params: dict[str, str],
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    sent = {"content-type": "application/json"} | headers
    answer = await api.post(IMPORT, content=body, params=params, headers=sent)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert await total(api) == 0


async def test_a_body_that_breaks_off_says_how_far_it_came(api: httpx2.AsyncClient) -> None:
    body = '{"entityTypeId": "Vendor", "entities": [{"fields": {}}, {"fields": {}}, {"fie'
    answer = await api.post(IMPORT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].endswith("2 rows before that were imported.")
    assert await total(api) == 2


async def test_an_import_has_bounds_of_its_own(settings: Settings, temporal: str) -> None:
    bounded = settings.model_copy(update={"import_bytes": 2 << 20})
    async with (
        running(bounded, temporal) as app,
        Door(app, app.state.services.database).client() as api,
    ):
        long = json.dumps({"fields": {"text": "x" * 100_000}})
        fits = "\n".join([long] * 15)
        answer = await api.post(IMPORT, content=fits, params=VENDORS, headers=NDJSON)
        assert answer.json()["imported"] == 15
        over = "\n".join([long] * 25)
        answer = await api.post(IMPORT, content=over, params=VENDORS, headers=NDJSON)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "payload_too_large"

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(25):
                yield long.encode() + b"\n"

        answer = await api.post(IMPORT, content=chunks(), params=VENDORS, headers=NDJSON)
        assert answer.status_code == 413
        assert "rows before that were imported" in answer.json()["error"]["message"]
        other = await api.post("/api/v1/entities", content=fits)
        assert other.status_code == 413


async def test_a_client_that_goes_leaves_whole_batches(
    live: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    whole = lines(4 * BATCH).encode()
    host, port = live.base_url.host, live.base_url.port
    head = (
        "POST /api/v1/entities/import?entityTypeId=Vendor HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {ADMIN}\r\nContent-Type: application/x-ndjson\r\n"
        f"Content-Length: {len(whole) + 100_000}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, port)
    # More than is taken in at a time.
    writer.write(head.encode() + whole + b" " * 70_000)
    await writer.drain()
    async with asyncio.timeout(30):
        while await total(live) < BATCH:
            await asyncio.sleep(0.02)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(30):
        while "/api/v1/entities/import" not in (await live.get("/api/audit")).text:
            await asyncio.sleep(0.05)
    assert await total(live) % BATCH == 0
    assert "unexpected error" not in caplog.text


async def test_runs_are_started_later_when_temporal_is_away(settings: Settings) -> None:
    async with (
        running(settings, "127.0.0.1:1") as app,
        Door(app, app.state.services.database).client() as api,
    ):
        url = await bound(api, "Vendor.Created")
        body = lines(2 * BATCH)
        answer = await api.post(IMPORT, content=body, params=VENDORS, headers=NDJSON)
        assert answer.json()["imported"] == 2 * BATCH
        page = (await api.get(f"{url}/runs", params={"status": "pending"})).json()
        assert page["total"] == 2 * BATCH


# --- once ----------------------------------------------------------------------------------------


async def test_the_same_key_imports_once(api: httpx2.AsyncClient) -> None:
    url = await bound(api, "Vendor.Created", "entity.fields.n < 3")
    headers = NDJSON | {"Idempotency-Key": "vendors-2026"}

    async def send(body: str) -> httpx2.Response:
        return await api.post(IMPORT, content=body, params=VENDORS, headers=headers)

    answers = await asyncio.gather(*(send(lines(BATCH + 10)) for _ in range(4)))
    assert [answer.json()["imported"] for answer in answers] == [BATCH + 10] * 4
    assert await total(api) == BATCH + 10
    assert len(await runs_of(api, url)) == 3
    again = await send(lines(BATCH + 10))
    assert again.content == answers[0].content
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await send(lines(3))
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert await total(api) == BATCH + 10


async def test_an_import_that_was_cut_off_is_finished_by_its_key(api: httpx2.AsyncClient) -> None:
    url = await bound(api, "Vendor.Created", "entity.fields.n % 100 == 0")
    headers = {"content-type": "application/json", "Idempotency-Key": "vendors-2026"}
    entities: list[Any] = [{"fields": {"n": n}} for n in range(600)]
    whole = json.dumps(VENDORS | {"entities": entities})
    broken = await api.post(IMPORT, content=whole[: len(whole) // 2], headers=headers)
    assert broken.status_code == 400
    assert 0 < await total(api) < 600
    finished = await api.post(IMPORT, content=whole, headers=headers)
    assert finished.json() == {"imported": 600, "failed": 0, "errors": []}
    assert await total(api) == 600
    assert len(await runs_of(api, url)) == 6


async def test_a_file_that_was_mended_is_imported_with_its_key(api: httpx2.AsyncClient) -> None:
    headers = {"content-type": "text/csv", "Idempotency-Key": "vendors-2026"}
    broken = 'name,size\n5" pipe,2\nB,3\n"C,4\nD,5\n'
    answer = await api.post(IMPORT, content=broken, params=VENDORS, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "Row 3 opens a quote that does not close. 2 rows before that were imported."
    )
    mended = broken.replace('"C', "C")
    answer = await api.post(IMPORT, content=mended, params=VENDORS, headers=headers)
    assert answer.json() == {"imported": 4, "failed": 0, "errors": []}
    page = (await api.get("/api/v1/entities", params=VENDORS)).json()["data"]
    assert [row["fields"]["name"] for row in page] == ["D", "C", "B", '5" pipe']


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "vendors-2026"}])
async def test_records_keep_the_order_of_their_rows(
    api: httpx2.AsyncClient, key: dict[str, str]
) -> None:
    count = 2 * BATCH + 10
    answer = await api.post(IMPORT, content=lines(count), params=VENDORS, headers=NDJSON | key)
    assert answer.json()["imported"] == count
    found: list[Any] = []
    while len(found) < count:
        page = await api.get(
            "/api/v1/entities", params=VENDORS | {"limit": "100", "offset": str(len(found))}
        )
        found += page.json()["data"]
    assert [row["fields"]["n"] for row in found] == [*reversed(range(count))]
    assert sorted((row["id"] for row in found), reverse=True) == [row["id"] for row in found]


async def test_imports_at_the_same_time(app: FastAPI, api: httpx2.AsyncClient) -> None:
    urls = [await bound(api, "Vendor.Created", f"entity.fields.n % 50 == {n}") for n in range(2)]

    async def edit() -> None:
        for status in ("paused", "active") * 2:
            await api.patch(f"{urls[1]}/status", json={"status": status})

    async def send(start: int) -> None:
        answer = await api.post(IMPORT, content=lines(300, start), params=VENDORS, headers=NDJSON)
        assert answer.json()["imported"] == 300

    await asyncio.gather(*(send(300 * n) for n in range(3)), edit())
    assert await total(api) == 900
    assert (await api.get(f"{urls[0]}/runs")).json()["total"] == 18
    assert (await api.get(f"{urls[1]}/runs")).json()["total"] <= 18


async def test_who_may_import(door: Door, api: httpx2.AsyncClient) -> None:
    async with door.client(await door.key(Role.OPERATOR)) as operator:
        answer = await operator.post(IMPORT, content=lines(1), params=VENDORS, headers=NDJSON)
        assert answer.status_code == 403
    async with door.client(await door.key(Role.EDITOR, "other")) as other:
        answer = await other.post(IMPORT, content=lines(1), params=VENDORS, headers=NDJSON)
        assert answer.json()["imported"] == 1
    assert await total(api) == 0


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson", "text/csv"])
async def test_a_nul_character_is_refused_with_its_row(api: httpx2.AsyncClient, kind: str) -> None:
    rows = [{"fields": {"name": "A"}}, {"fields": {"name": "B\0"}}, {"fields": {"name": "C"}}]
    body = {
        "application/json": json.dumps(VENDORS | {"entities": rows}),
        "application/x-ndjson": "\n".join(map(json.dumps, rows)),
        "text/csv": "name\nA\nB\0\nC\n",
    }[kind]
    answer = await api.post(IMPORT, content=body, params=VENDORS, headers={"content-type": kind})
    told = answer.json()
    assert (told["imported"], told["failed"]) == (2, 1)
    (error,) = told["errors"]
    assert error["row"] == 2
    assert "has a NUL character" in error["message"]
