"""Records out of bodies that come in pieces of any size."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.services.door import Refused
from app.services.rows import CSV, JSON, LONGEST_ROW, NDJSON, Body, Row


async def read(kind: str, body: str | bytes, size: int = 7) -> tuple[list[Row], Body]:
    content = body.encode() if isinstance(body, str) else body

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    parsed = Body(kind, chunks())
    return [row async for row in parsed.rows()], parsed


def fields(rows: list[Row]) -> list[Any]:
    return [row.fields for row in rows]


RECORDS: list[dict[str, Any]] = [
    {"name": "Ä\n\"'{[", "n": -12.5e3, "deep": {"a": [1, {"b": None}]}},
    {},
    {"name": "é" * 40, "on": True},
]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
async def test_all_three_forms_read_the_same(size: int) -> None:
    document = {"entityTypeId": "Vendor", "entities": [{"fields": one} for one in RECORDS]}
    rows, body = await read(JSON, json.dumps(document, indent=1), size)
    assert fields(rows) == RECORDS
    assert body.type_named == "Vendor"
    rows, _ = await read(NDJSON, "\n\n".join(json.dumps({"fields": r}) for r in RECORDS), size)
    assert fields(rows) == RECORDS
    assert [row.number for row in rows] == [1, 2, 3]
    rows, _ = await read(CSV, 'a,b\r\n1,"x, ""y""\nz"\r\n\r\n,é\r\n', size)
    assert fields(rows) == [{"a": "1", "b": 'x, "y"\nz'}, {"a": "", "b": "é"}]


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CSV, "name\nAcme"),
        (NDJSON, '{"fields": {"name": "Acme"}}'),
        (JSON, '{"entities": [{"fields": {"name": "Acme"}}]}'),
    ],
)
async def test_a_byte_order_mark_is_no_part_of_a_body(kind: str, body: str, size: int) -> None:
    rows, _ = await read(kind, f"\ufeff{body}", size)
    assert fields(rows) == [{"name": "Acme"}]


@pytest.mark.parametrize("kind", [NDJSON, CSV])
async def test_blank_lines_are_passed_over_wherever_they_are_cut(kind: str) -> None:
    row = {NDJSON: '{"fields": {"n": "1"}}', CSV: "1"}[kind]
    head = {NDJSON: "", CSV: "n\n"}[kind]
    blank = "\r\n\n  \n\t \r\n" * 20_000
    for size in (1_000, 70_001):
        rows, _ = await read(kind, f"{head}{blank}{row}\n{blank}{row}{blank}  ", size)
        assert fields(rows) == [{"n": "1"}] * 2


@pytest.mark.parametrize("padding", [0, 200_000])
@pytest.mark.parametrize(
    ("body", "at", "message"),
    [
        (
            '{"entities": [], "entityTypeId": "V"}',
            0,
            "entityTypeId must come before entities, or be in the query.",
        ),
        (
            '{"entities": [{"fields": {}}, {"fields": {"a": "b',
            48,
            "The body is not JSON in entity 2, from character {} on.",
        ),
        ('{"entities": [7 8]}', 17, "The body is not JSON: ',' was expected at character {}."),
        ('{"entities": {}}', 14, "The body is not JSON: '[' was expected at character {}."),
    ],
)
async def test_what_is_wrong_with_a_document_is_said(
    body: str, at: int, message: str, padding: int
) -> None:
    with pytest.raises(Refused) as refused:
        await read(JSON, " " * padding + body, 1_000)
    assert refused.value.message == message.format(at + padding)


async def test_where_a_line_is_no_json_is_said() -> None:
    rows, _ = await read(NDJSON, '{"fields": {"a": "b}}')
    assert rows[0].message == "It is not JSON from column 18 on."


@pytest.mark.parametrize(
    ("kind", "body", "bad"),
    [
        (NDJSON, '{"fields": {}}\nnope\n{"fields": {}}', 2),
        (NDJSON, '{"fields": {}}\n{"fields": {"a": 1, "a": 2}}\n{"fields": {}}', 2),
        (NDJSON, f'{{"fields": {{}}}}\n{"x" * (3 * LONGEST_ROW)}\n{{"fields": {{}}}}', 2),
        (NDJSON, f'{{"fields": {{}}}}\n{"[" * 5_000}\n{{"fields": {{}}}}', 2),
        (NDJSON, '{"fields": {}}\n{"fields": {}, "id": 1}\n{"fields": {}}', 2),
        (JSON, '{"entities": [{"fields": {}}, 7, {"fields": {}}]}', 2),
        (JSON, '{"entities": [{"fields": {}}, {"field": 1}, {"fields": {}}]}', 2),
        (CSV, "a,b\n1,2\n1\n3,4", 2),
        (CSV, 'a,b\n1,2\n"x"y,2\n3,4', 2),
        (CSV, "a,b\n1,2\n\0,2\n3,4", 2),
    ],
)
async def test_a_row_that_cannot_be_used_hides_no_other(kind: str, body: str, bad: int) -> None:
    rows, _ = await read(kind, body, 50_000)
    assert [row.number for row in rows] == [1, 2, 3]
    assert [row.number for row in rows if row.fields is None] == [bad]
    assert rows[bad - 1].message


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, ""),
        (JSON, "[]"),
        (JSON, '{"entities": [{"fields": {}}'),
        (JSON, '{"entities": [{"fields": {}} {"fields": {}}]}'),
        (JSON, '{"entities": [], "entities": []}'),
        (JSON, '{"entities": [], "other": 1}'),
        (JSON, '{"entityTypeId": "Vendor"}'),
        (JSON, '{"entityTypeId": 7, "entities": []}'),
        (JSON, '{"entities": []} x'),
        (JSON, '{"entities": [{"fields": {"a": 1, "a": 2}}]}'),
        (JSON, '{"entities": [{"fields": {"a": NaN}}]}'),
        (JSON, '{"entities": [' + "[" * 100_000),
        (JSON, '{"entities": ["' + "x" * (3 * LONGEST_ROW)),
        (NDJSON, b"\xff\xfe"),
        (CSV, ""),
        (CSV, "a,a\n1,2"),
        (CSV, "a,\n1,2"),
        (CSV, ",".join(map(str, range(1_001)))),
        (CSV, 'a\n"' + "x" * (2 * LONGEST_ROW)),
    ],
)
async def test_what_cannot_be_read_on_is_refused(kind: str, body: str | bytes) -> None:
    with pytest.raises(Refused) as refused:
        await read(kind, body, 30_000)
    assert refused.value.status == 400


async def test_the_digest_is_that_of_the_bytes() -> None:
    text = '{"entities": [{"fields": {}}]} '
    _, one = await read(JSON, text, 3)
    _, other = await read(JSON, text, 100)
    assert one.digest == other.digest
    _, third = await read(JSON, text + " ")
    assert third.digest != one.digest
