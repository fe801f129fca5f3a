"""The forty-vendor sweep of seed 001: asked once each, answered or not, and reported.

Real processes, the seed's own request, and a worker that is killed while the run waits.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.demo.receiver import Delivery, Receiver
from tests.integration.site import PATIENCE, Site
from tests.postgresql import fresh

VENDORS, SILENT, OTHERS = 40, 2, 5
EXAMPLE = Path(__file__).parents[2] / "examples" / "quarterly_privacy_sweep.yaml"
#: The request of the seed, to the letter.
URL = "/v1/workflows/quarterly-privacy-sweep/run"
KEY = "privacy-sweep-2026-q2"
BODY = """{
    "input": {
      "vendor_filter": { "tags": ["processes_pii"] },
      "due_date": "2026-06-30"
    }
  }"""


def name(n: int) -> str:
    return f"Vendor {n:02}"


def vendor(n: int, receiver: Receiver) -> dict[str, Any]:
    """One that handles personal data, or one of the others; the first two never answer."""
    return {
        "name": name(n),
        "inbox": receiver.url(f"/inbox/{n}"),
        "tags": ["processes_pii", "eu"] if n < VENDORS else ["eu"],
        # They do not keep the test waiting, and nobody else is hurried.
        "answer_within": 3 if n < SILENT else 3_600,
    }


class Vendors:
    """The other side: every inbox, and what the vendors answer."""

    def __init__(self) -> None:
        self.arrived = asyncio.Queue[Delivery]()
        answers = {f"POST /inbox/{n}": {"thanks": True} for n in range(VENDORS + OTHERS)}
        self.receiver = Receiver({**answers}, {}, self._on_delivery)

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.answered is None:
            self.arrived.put_nowait(delivery)

    async def asked(self) -> list[dict[str, Any]]:
        """What the first forty deliveries have said."""
        async with asyncio.timeout(PATIENCE * 2):
            found = [await self.arrived.get() for _ in range(VENDORS)]
        return [dict(one.body) for one in found if isinstance(one.body, dict)]


async def import_vendors(site: Site, receiver: Receiver) -> None:
    entities = [{"fields": vendor(n, receiver)} for n in range(VENDORS + OTHERS)]
    answer = await site.http.post(
        "/api/v1/entities/import", json={"entityTypeId": "Vendor", "entities": entities}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"imported": VENDORS + OTHERS, "failed": 0, "errors": []}


async def answer(site: Site, asked: dict[str, Any]) -> None:
    """Answer as the message says."""
    event = asked["answer"]
    data = {**event["data"], "answers": {"from": asked["vendor"]["name"]}}
    told = await site.http.post("/v1/events", json={"name": event["event"], "data": data})
    assert told.status_code == 202, told.text


async def until_sent(site: Site, run_id: str) -> None:
    """Wait until every delivery is recorded."""
    async with asyncio.timeout(PATIENCE * 2):
        while True:
            steps = (await site.http.get(f"/v1/workflows/runs/{run_id}")).json()["steps"]
            kinds = Counter((step["action_type"], step["status"]) for step in steps)
            if kinds["send_questionnaire", "success"] == VENDORS:
                return
            await asyncio.sleep(0.2)


async def until_over(site: Site, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE * 2):
        while True:
            run: dict[str, Any] = (await site.http.get(f"/v1/workflows/runs/{run_id}")).json()
            if run["status"] != "started":
                return run
            await asyncio.sleep(0.2)


def is_id(prefix: str, written: Any) -> bool:
    return re.fullmatch(prefix + "[0-9a-f]{32}", str(written)) is not None


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the site keeps everything; empty for a file of its own."""
    if request.param == "sqlite":
        yield ""
        return
    with fresh(request.getfixturevalue("postgresql")) as url:
        yield url


@pytest.mark.timeout(400)
async def test_forty_vendors_are_asked_once_and_reported(tmp_path: Path, database_url: str) -> None:
    vendors = Vendors()
    async with Site(tmp_path, database_url=database_url) as site, vendors.receiver:
        requests = Counter[str]()
        site.http.event_hooks["request"].append(lambda request: count(requests, request.method))
        definition = yaml.safe_load(EXAMPLE.read_text())["definition"]
        made = await site.http.post(
            "/api/workflows", json={"definition": definition, "status": "active"}
        )
        assert made.status_code == 201, made.text
        await import_vendors(site, vendors.receiver)

        began = time.monotonic()
        headers = {"Idempotency-Key": KEY, "Content-Type": "application/json"}
        first, second = [await site.http.post(URL, headers=headers, content=BODY) for _ in range(2)]
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.content == second.content
        assert second.headers["idempotent-replayed"] == "true"
        started = first.json()
        assert started["input"] == json.loads(BODY)["input"]

        asked = await vendors.asked()
        delivered = time.monotonic() - began
        answering = [one for one in asked if one["vendor"]["name"] not in silent()]
        half = len(answering) // 2
        await asyncio.gather(*(answer(site, one) for one in answering[:half]))
        # A worker that dies between a delivery and its record has to deliver again.
        await until_sent(site, started["workflow_run_id"])
        site.kill("worker")
        # What comes while nobody is there to notice is not lost.
        await asyncio.gather(*(answer(site, one) for one in answering[half:]))
        site.start("worker")
        run = await until_over(site, started["workflow_run_id"])
        took = time.monotonic() - began

        page = await site.http.get(f"/api/workflows/runs/run_{run['workflow_run_id'][5:]}")
        listed = (await site.http.get("/v1/workflows/runs")).json()
        print(
            f"{VENDORS} vendors: asked within {delivered:.1f} s, reported after {took:.1f} s; "
            f"{sum(requests.values())} requests to the API, "
            f"{len(vendors.receiver.deliveries)} deliveries by it"
        )
    assert run["status"] == "completed", site.tail()
    judge_deliveries(vendors.receiver)
    judge_report(page.json()["run"]["output"])
    judge_steps(run)
    assert listed["total"] == 1
    assert listed["data"][0]["step_count"] == len(run["steps"])


async def count(requests: Counter[str], method: str) -> None:
    requests[method] += 1


def silent() -> list[str]:
    return [name(n) for n in range(SILENT)]


def judge_deliveries(receiver: Receiver) -> None:
    """Each of the forty was asked once, under a key of its own, and none of the others."""
    paths = Counter(one.request for one in receiver.deliveries)
    assert paths == Counter({f"POST /inbox/{n}": 1 for n in range(VENDORS)})
    assert len({one.key for one in receiver.deliveries}) == VENDORS
    for one in receiver.deliveries:
        assert isinstance(one.body, dict)
        assert one.body["questionnaire"] == "Standard data privacy"
        assert one.body["context"] == {"due_date": "2026-06-30"}


def judge_report(report: dict[str, Any]) -> None:
    answered = [name(n) for n in range(SILENT, VENDORS)]
    assert report == {
        "due_date": "2026-06-30",
        "asked": VENDORS,
        "answered": [{"vendor": one, "answers": {"from": one}} for one in answered],
        "silent": silent(),
        "not_reached": 0,
    }


def judge_steps(run: dict[str, Any]) -> None:
    """As the seed shows them: one for each questionnaire, with the vendor and the response."""
    kinds = Counter((step["action_type"], step["status"]) for step in run["steps"])
    assert kinds == {
        ("find_records", "success"): 1,
        ("loop", "success"): 1,
        ("send_questionnaire", "success"): VENDORS,
        ("wait", "success"): VENDORS,
        ("transform", "success"): VENDORS + 1,
    }
    sent = [step for step in run["steps"] if step["action_type"] == "send_questionnaire"]
    pairs = []
    for step in sent:
        assert is_id("cbwrs_", step["step_id"])
        assert (step["component_name"], step["message"]) == ("Send questionnaire", None)
        vendor, response = step["artifacts"]
        assert (vendor["artifact_type"], vendor["role"]) == ("vendor", "trigger")
        assert (response["artifact_type"], response["role"]) == ("questionnaire_response", "result")
        assert is_id("cbvndr_", vendor["id"])
        assert is_id("cbqsrw_", response["id"])
        pairs.append((vendor["id"], response["id"]))
    assert len({*pairs}) == len({vendor for vendor, _ in pairs}) == VENDORS
    assert len({step["component_id"] for step in sent}) == 1
