"""The commands of the page on batches, as they are written there."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.contract.conftest import ADMIN

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "batches.md"
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
JOB = re.compile(r'\{"id":"[0-9a-f]{32}","name":"Name products","type":"workflow_run"')


def jobs_in(text: str) -> list[dict[str, Any]]:
    """The jobs that were answered, among all that was printed."""
    decode = json.JSONDecoder().raw_decode
    return [decode(text, match.start())[0] for match in JOB.finditer(text)]


@pytest.mark.usefixtures("worker")
async def test_the_commands_do_what_the_page_says(live: httpx2.AsyncClient) -> None:
    script = "set -eu\n" + "\n".join(SHELL.findall(PAGE.read_text()))
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        env={"PATH": os.environ["PATH"], "SIGNALBOX": str(live.base_url), "KEY": ADMIN},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    text = out.decode()
    assert process.returncode == 0, err.decode()
    jobs = jobs_in(text)
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    first, again = jobs
    assert first["progress"] == {"total": 3, "completed": 2, "failed": 1}
    assert first["errorBudget"] == {"maxFailures": 3, "onExceeded": "pause"}
    assert again["progress"] == {"total": 1, "completed": 1, "failed": 0}
    assert again["retryOf"] == first["id"]
    assert text.count("event: batch_progress") == 2
    (failed,) = re.findall(
        r"^([0-9a-f]{32}),failed,titled,1,validation_failed,", text, re.MULTILINE
    )
    entity = (await live.get(f"/api/v1/entities/{failed}")).json()
    assert entity["fields"] == {"sku": "green-lamp", "title": "Green lamp"}
