"""Forty vendors are asked, thirty-eight answer, and a report says who: what is done, in order.

The workflow is the template `quarterly-privacy-sweep`. The vendors are records that are imported,
the questionnaires go to a receiver that stands for all of them, and their answers come back as
events, under a key that may do no more than that.
"""

import asyncio
import secrets
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
from pydantic import JsonValue

from app.demo.receiver import HOST, Delivery, Receiver
from app.demo.screen import Screen
from app.demo.service import Service

VENDORS, SILENT, OTHERS = 40, 2, 5
#: Seconds after which something must be wrong.
PATIENCE = 180
#: Seconds that a vendor may take; those that never answer are not waited for much longer.
_LONG, _SHORT = 3_600, 8
NAME = "quarterly-privacy-sweep"
KEY = "privacy-sweep-2026-q2"
_INPUT = {"vendor_filter": {"tags": ["processes_pii"]}, "due_date": "2026-06-30"}
_JUDGED = {True: "bold green", False: "bold red"}
#: Seconds between two looks at the run.
_LOOK = 0.5


class Sweep:
    """The demonstration itself."""

    def __init__(self, screen: Screen, directory: Path) -> None:
        thanks: JsonValue = {"thanks": True}
        inboxes = {f"POST /inbox/{n}": thanks for n in range(VENDORS + OTHERS)}
        self.receiver = Receiver(inboxes, {}, self._on_delivery)
        self.service = Service(directory)
        self._screen = screen
        self._asked = asyncio.Queue[dict[str, Any]]()
        self._requests = 0
        #: What the two starts with one key have answered.
        self._answers: set[bytes] = set()

    async def show(self) -> int:
        """Show everything; answers 0 if all was as promised, else 1.

        Raises:
            TimeoutError: it took far too long.
            httpx2.HTTPError: the service answered an error, or nothing.
            Unavailable: the service does not start.
        """
        async with asyncio.timeout(PATIENCE):
            key = secrets.token_urlsafe(32)
            url = await self._start(key)
            async with self._client(url, key) as api:
                await self._prepare(api)
                vendors = await self._json(
                    api.post("/api/keys", json={"name": "vendors", "role": "runner"})
                )
                began = time.monotonic()
                run_id = await self._start_run(api)
                async with self._client(url, vendors["secret"]) as outside:
                    answering = asyncio.create_task(self._answer(outside))
                    try:
                        run = await self._until_over(api, run_id)
                        took = time.monotonic() - began
                    finally:
                        answering.cancel()
                        await asyncio.wait([answering])
                page = await self._json(
                    api.get(f"/api/workflows/runs/run_{run_id.removeprefix('cbwr_')}")
                )
        return self._sum_up(run, page["run"]["output"], took)

    def _client(self, url: str, key: str) -> httpx2.AsyncClient:
        async def count(request: httpx2.Request) -> None:
            self._requests += 1

        return httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            # A proxy of the user's would not find this machine's own address.
            trust_env=False,
            event_hooks={"request": [count]},
        )

    async def _start(self, key: str) -> str:
        allowed = f"{HOST}:{self.receiver.port}"
        self._screen.say("receiver", f"stands for the vendors at {self.receiver.url('/inbox/…')}")
        self._screen.say("service", "starts on a temporary directory: Temporal, worker, API")
        url = await self.service.start(
            {"SIGNALBOX_API_KEY": key, "SIGNALBOX_EGRESS_ALLOW": allowed}
        )
        self._screen.say("service", f"ready at {url}")
        return url

    async def _prepare(self, api: httpx2.AsyncClient) -> None:
        """Import the vendors, and make the workflow of its template."""
        entities = [{"fields": self._vendor(n)} for n in range(VENDORS + OTHERS)]
        done = await self._json(
            api.post(
                "/api/v1/entities/import", json={"entityTypeId": "Vendor", "entities": entities}
            )
        )
        self._screen.say(
            "api",
            f"POST /api/v1/entities/import: {done['imported']} vendors, {VENDORS} of them tagged "
            "processes_pii",
        )
        listed = await self._json(api.get("/api/workflows/templates?limit=200"))
        template = next(one for one in listed["templates"] if one["name"] == NAME)
        shown = await self._json(api.get(f"/api/workflows/templates/{template['id']}"))
        definition = shown["template"]["definition"]
        await self._json(
            api.post("/api/workflows", json={"definition": definition, "status": "active"})
        )
        self._screen.say("api", f"POST /api/workflows: created {NAME} of its template")

    def _vendor(self, n: int) -> dict[str, Any]:
        """One of the forty, or one of those that are not asked; the first ones never answer."""
        return {
            "name": f"Vendor {n:02}",
            "inbox": self.receiver.url(f"/inbox/{n}"),
            "tags": ["processes_pii"] if n < VENDORS else [],
            "answer_within": _SHORT if n < SILENT else _LONG,
        }

    async def _start_run(self, api: httpx2.AsyncClient) -> str:
        """Start the run twice with one key, as a client does that has not seen the first answer."""
        path = f"/v1/workflows/{NAME}/run"
        answers = [
            await api.post(path, json={"input": _INPUT}, headers={"Idempotency-Key": KEY})
            for _ in range(2)
        ]
        for answer in answers:
            answer.raise_for_status()
            again = answer.headers.get("idempotent-replayed")
            told = f"replayed: {again}" if again else "started"
            self._screen.say("api", f"POST {path}: {answer.json()['workflow_run_id']} ({told})")
        self._answers = {answer.content for answer in answers}
        return str(answers[0].json()["workflow_run_id"])

    async def _answer(self, outside: httpx2.AsyncClient) -> None:
        """Answer as each message says, but for those that never do."""
        while True:
            asked = await self._asked.get()
            data = {**asked["answer"]["data"], "answers": {"complies": True}}
            event = {"name": asked["answer"]["event"], "data": data}
            await self._json(outside.post("/v1/events", json=event))

    def _on_delivery(self, delivery: Delivery) -> None:
        body = delivery.body
        if delivery.answered is None and isinstance(body, dict):
            vendor = str(dict(body["vendor"])["name"]) if isinstance(body["vendor"], dict) else ""
            if int(vendor.removeprefix("Vendor ")) >= SILENT:
                self._asked.put_nowait(body)
            if (count := len(self.receiver.deliveries)) % 10 == 0:
                self._screen.say("receiver", f"{count} questionnaires have arrived")

    async def _until_over(self, api: httpx2.AsyncClient, run_id: str) -> dict[str, Any]:
        """Poll the run until it is over."""
        seen = Counter[str]()
        while True:
            run = await self._json(api.get(f"/v1/workflows/runs/{run_id}"))
            kinds = Counter(
                step["action_type"] for step in run["steps"] if step["status"] == "success"
            )
            if kinds != seen:
                told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
                self._screen.say("run", f"{run['status']}: {told}", "cyan")
                seen = kinds
            if run["status"] != "started":
                return run
            await asyncio.sleep(_LOOK)

    async def _json(self, answer: Any) -> dict[str, Any]:
        """What the service answered.

        Raises:
            httpx2.HTTPStatusError: it is an error.
        """
        received: httpx2.Response = await answer
        received.raise_for_status()
        body: dict[str, Any] = received.json()
        return body

    def _sum_up(self, run: dict[str, Any], report: Any, took: float) -> int:
        """Show what has become of it; answers the exit status."""
        self._screen.undraw()
        deliveries = Counter(one.request for one in self.receiver.deliveries)
        sent = [step for step in run["steps"] if step["action_type"] == "send_questionnaire"]
        self._screen.table(
            f"The run has {run['status']} after {took:.1f} s",
            ("what", "how many, or which"),
            [
                ["asked", report["asked"]],
                ["answered", len(report["answered"])],
                ["never answered", ", ".join(report["silent"])],
                ["one of the steps", sent[0]],
                ["requests to the API", self._requests],
                ["requests by it", sum(deliveries.values())],
            ],
        )
        promises = {
            "the key was sent twice and started one run": len(self._answers) == 1,
            "each of the forty was asked once, and nobody else": deliveries
            == Counter({f"POST /inbox/{n}": 1 for n in range(VENDORS)}),
            "whoever has answered is in the report": len(report["answered"]) == VENDORS - SILENT,
            "so is whoever has not": report["silent"] == [f"Vendor {n:02}" for n in range(SILENT)],
            "each step shows the vendor and the response": len(sent) == VENDORS
            and all(len(step["artifacts"]) == 2 for step in sent),
        }
        for promise, kept in promises.items():
            self._screen.say("demo", f"{'true' if kept else 'FALSE'}: {promise}", _JUDGED[kept])
        return 0 if all(promises.values()) else 1
