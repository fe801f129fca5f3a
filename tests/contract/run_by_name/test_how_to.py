"""What the page about named workflows tells to type, typed."""

import asyncio
import json
import os
import re
from pathlib import Path

import httpx2
import pytest

from engine.roles import Role
from tests.contract.conftest import Door

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "start-a-named-workflow.md"


@pytest.mark.usefixtures("worker")
async def test_the_page_does_what_it_says(
    live: httpx2.AsyncClient, door: Door, tmp_path: Path
) -> None:
    blocks = re.findall(r"```(json|sh)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (definition,) = [json.loads(text) for kind, text in blocks if kind == "json"]
    assert (await live.post("/api/workflows", json={"definition": definition})).status_code == 201
    key = await door.key(Role.RUNNER)
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-e",
        "-c",
        "".join(text for kind, text in blocks if kind == "sh"),
        cwd=tmp_path,
        env={**os.environ, "SIGNALBOX": str(live.base_url).rstrip("/"), "KEY": key},
    )
    async with asyncio.timeout(90):
        assert await process.wait() == 0
    run, runs, later = [
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("run", "runs", "later")
    ]
    assert run["status"] == "completed"
    names = [step["component_name"] for step in run["steps"]]
    assert sorted(names) == ["Ask the vendors", "question", "question"]
    assert [listed["workflow_run_id"] for listed in runs["data"]] == [run["workflow_run_id"]]
    assert later["cancel_reason"] == "requested"
    digits = run["workflow_run_id"].removeprefix("cbwr_")
    full = await live.get(f"/api/workflows/runs/run_{digits}")
    assert full.json()["run"]["output"] == "2 were asked."
