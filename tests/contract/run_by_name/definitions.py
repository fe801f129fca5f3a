"""Workflows that the tests of this surface start, and how they follow the runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from fastapi import FastAPI

from app.settings import Settings
from tests.contract.conftest import Door, running

#: The published example, with a step that reaches nowhere.
SWEEP = "quarterly-privacy-sweep"
INPUT: dict[str, Any] = {
    "vendor_filter": {"tags": ["processes_pii"]},
    "due_date": "2026-06-30",
}


def quiet(name: str = SWEEP, **more: Any) -> dict[str, Any]:
    """A workflow of one step that is over at once."""
    step = {
        "id": "send",
        "name": "Send questionnaire",
        "type": "transform",
        "config": {"output": "{{ input }}"},
    }
    return {"name": name, "steps": [step], **more}


async def create(api: httpx2.AsyncClient, definition: dict[str, Any], **more: Any) -> str:
    """The hex digits of a new workflow's id."""
    answer = await api.post("/api/workflows", json={"definition": definition, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"]).removeprefix("wf_")


async def start(api: httpx2.AsyncClient, name: str = SWEEP, **body: Any) -> str:
    """The id of a new run of the workflow of this name."""
    answer = await api.post(f"/v1/workflows/{name}/run", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["workflow_run_id"])


async def read(api: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
    answer = await api.get(f"/v1/workflows/runs/{run_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until(api: httpx2.AsyncClient, run_id: str, *statuses: str) -> dict[str, Any]:
    """The run, once it has one of these statuses."""
    async with asyncio.timeout(60):
        while True:
            run = await read(api, run_id)
            if run["status"] in statuses:
                return run
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def open_api(
    settings: Settings, address: str
) -> AsyncIterator[tuple[FastAPI, httpx2.AsyncClient]]:
    """The app towards a Temporal at this address, and an admin of the organisation `default`."""
    async with (
        running(settings, address) as app,
        Door(app, app.state.services.database).client() as api,
    ):
        yield app, api
