"""Definitions that the tests of this surface use."""

import asyncio
from typing import Any

import httpx2

#: No step of it reaches outside.
QUIET: dict[str, Any] = {
    "name": "Quiet",
    "steps": [
        {"id": "first", "type": "transform", "config": {"output": {"n": 1}}},
        {
            "id": "second",
            "type": "transform",
            "config": {"output": "{{ steps.first.output.n }}"},
            "depends_on": ["first"],
        },
    ],
}

#: Waits for a day, so that somebody else has to end it.
PATIENT: dict[str, Any] = {
    "name": "Patient",
    "steps": [
        {"id": "first", "type": "transform", "config": {"output": 1}},
        {"id": "day", "type": "wait", "config": {"duration": 86_400}, "depends_on": ["first"]},
        {
            "id": "last",
            "type": "transform",
            "config": {"output": 2},
            "depends_on": ["day"],
        },
    ],
}


async def create_and_run(api: httpx2.AsyncClient, definition: dict[str, Any], **body: Any) -> str:
    """The id of a new run of a new workflow."""
    created = await api.post("/api/workflows", json={"definition": definition})
    assert created.status_code == 201, created.text
    started = await api.post(f"/api/workflows/{created.json()['id']}/run", json=body)
    assert started.status_code == 202, started.text
    return str(started.json()["run_id"])


async def until(api: httpx2.AsyncClient, run_id: str, *states: str) -> dict[str, Any]:
    """The run, once it is in one of these states."""
    async with asyncio.timeout(60):
        while True:
            run: dict[str, Any] = (await api.get(f"/api/workflows/runs/{run_id}")).json()["run"]
            if run["status"] in states:
                return run
            await asyncio.sleep(0.02)
