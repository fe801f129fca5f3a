"""What the page on reacting to records shows, done."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI

from app.settings import Settings
from tests.contract.conftest import working
from tests.contract.full_engine.definitions import until
from tests.receiver import Receiver

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "react-to-records.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


async def test_what_the_page_says_happens(
    settings: Settings, temporal: str, app: FastAPI, api: httpx2.AsyncClient, receiver: Receiver
) -> None:
    text, trigger = blocks("json")
    definition: dict[str, Any] = json.loads(
        text.replace("https://api.example.com", receiver.url(""))
    )
    made = await api.post("/api/workflows", json={"definition": definition, **json.loads(trigger)})
    assert made.status_code == 201, made.text
    (vendors,) = blocks("ndjson")
    async with working(settings, temporal, {"egress_allow": "127.0.0.0/8"}):
        done = await api.post(
            "/api/v1/entities/import",
            params={"entityTypeId": "Vendor"},
            content=vendors,
            headers={"content-type": "application/x-ndjson"},
        )
        assert done.json() == {"imported": 3, "failed": 0, "errors": []}
        listed = (await api.get(f"{made.headers['location']}/runs")).json()["runs"]
        runs = [await until(api, run["id"], "completed", "failed") for run in listed]
    risks = {run["input_data"]["entity"]["fields"]["name"]: run["output"] for run in runs}
    assert risks == {"Acme GmbH": "high", "Plain Ltd": "low"}
    assert (receiver.count("/questionnaires"), receiver.count("/owners")) == (1, 2)
    (asked,) = [one for one in receiver.deliveries if one.path == "/questionnaires"]
    assert json.loads(asked.body)["vendor"]["name"] == "Acme GmbH"
