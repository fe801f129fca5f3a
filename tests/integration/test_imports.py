"""Long bodies are imported row by row, whole, and without being held in memory.

`make chaos` does it with 50 MB of CSV and 100,000 rows of JSON, and prints what it took.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest

from app.services.imports import TOLD
from tests.integration.long_table import TYPE, Table, write
from tests.integration.site import Site

#: Bytes that an import may take of the API's memory, whatever its length.
ROOM = 100 << 20
#: No multiple of anything, so that pieces end within characters, cells and quotes.
_PIECE = 61_441


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path / "site") as site:
        answer = await site.http.post("/api/v1/entity-types", json=TYPE)
        assert answer.status_code == 201, answer.text
        yield site


class Growth:
    """How much more memory a process takes than when it was idle."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._idle = self._most = process.memory_info().rss

    @contextmanager
    def watched(self) -> Iterator[None]:
        over = Event()

        def watch() -> None:
            while not over.wait(0.02):
                self._most = max(self._most, self._process.memory_info().rss)

        thread = Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def most(self) -> int:
        return self._most - self._idle


async def pieces(body: Path) -> AsyncIterator[bytes]:
    with body.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece


async def imported(site: Site, body: Path, kind: str, told: str) -> dict[str, Any]:
    """Import a file, within the room that there is for it."""
    growth = Growth(psutil.Process(site.processes["api"].pid))
    began = time.perf_counter()
    with growth.watched():
        answer = await site.http.post(
            "/api/v1/entities/import",
            content=pieces(body),
            params={"entityTypeId": "Line"},
            headers={"content-type": kind},
            timeout=1_200,
        )
    took = time.perf_counter() - began
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    print(
        f"{told}: {took:.1f} s, {done['imported'] / took:.0f} rows/s,"
        f" {body.stat().st_size / 1e6:.1f} MB, {growth.most / 2**20:.0f} MiB above idle"
    )
    assert growth.most < ROOM
    return done


async def fields_of(site: Site, place: int, total: int) -> dict[str, Any]:
    """The fields of the record at this place, from 0, in the order in which they were made."""
    answer = await site.http.get(
        "/api/v1/entities",
        params={"entityTypeId": "Line", "limit": 1, "offset": total - 1 - place},
    )
    page = answer.json()
    assert page["total"] == total
    fields: dict[str, Any] = page["data"][0]["fields"]
    return fields


async def compare(site: Site, table: Table) -> None:
    """Import a table: every row is imported as it was written, or refused with its reason."""
    done = await imported(site, table.file, "text/csv", f"CSV, {table.rows} rows")
    good = table.rows - len(table.refused)
    assert (done["imported"], done["failed"]) == (good, len(table.refused))
    told = [{"row": row, "message": why} for row, why in sorted(table.refused.items())]
    assert [{"row": one["row"], "message": one["message"]} for one in done["errors"]] == told[:TOLD]
    for place, fields in table.kept.items():
        assert await fields_of(site, place, good) == fields


async def test_a_table_with_all_that_spreadsheets_write(site: Site, tmp_path: Path) -> None:
    await compare(site, write(tmp_path / "table.csv", size=200_000, bad_every=20))


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_fifty_megabytes_of_table(site: Site, tmp_path: Path) -> None:
    await compare(site, write(tmp_path / "table.csv", size=50 << 20))


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_hundred_thousand_lines(site: Site, tmp_path: Path) -> None:
    body, count = tmp_path / "lines.ndjson", 100_000
    with body.open("w") as file:
        for n in range(count):
            file.write(json.dumps({"fields": {"title": f"Line {n}", "size": n}}) + "\n")
    done = await imported(site, body, "application/x-ndjson", f"JSON lines, {count} rows")
    assert done == {"imported": count, "failed": 0, "errors": []}
    for place in range(0, count, 9_999):
        assert await fields_of(site, place, count) == {"title": f"Line {place}", "size": place}
