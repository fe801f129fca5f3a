"""What the demonstration does, in order, and what has to be true at its end.

The definition is "Fetch and notify" of the API's documentation, with a `webhook` in the place of
its agent. The fetch is answered slowly; in the middle of the wait the worker is killed with
SIGKILL, so its request is lost without a trace in the process. The service starts another worker,
which carries the run on: the fetch is delivered again under the same `Idempotency-Key`.
"""

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import httpx2
from httpx2 import ServerSentEvent
from pydantic import JsonValue

from app.demo.receiver import HOST, Delivery, Receiver
from app.demo.screen import Screen
from app.demo.service import Service

#: Seconds that the fetch waits for its answer; the worker is killed after half of them.
_SLOW = 4.0
#: Seconds after which something must be wrong.
PATIENCE = 120
#: Seconds between two bytes of a stream: it gives a sign of life every 15.
_SILENCE = 30.0
_FETCH, _NOTIFY = "GET /data", "POST /notify"
_JUDGED = {True: "bold green", False: "bold red"}
#: What the receiver answers.
_ANSWERS: dict[str, JsonValue] = {
    _FETCH: {"title": "Quarterly figures", "rows": 3},
    _NOTIFY: {"accepted": True},
}
_STEPS = {_FETCH: "fetch", _NOTIFY: "notify"}
#: The status of a step after an event of it.
_STATUS = {
    "step_started": "running",
    "step_waiting": "running",
    "step_completed": "completed",
    "step_failed": "failed",
    "step_skipped": "skipped",
    "step_cancelled": "cancelled",
}


class Scenes:
    """The demonstration itself."""

    def __init__(self, screen: Screen, directory: Path) -> None:
        self.receiver = Receiver(_ANSWERS, {_FETCH: _SLOW}, self._on_delivery)
        self.service = Service(directory)
        self._screen = screen
        self._fetching = asyncio.Event()
        self._killed = False

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
            async with httpx2.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Bearer {key}"},
                timeout=_SILENCE,
                # A proxy of the user's would not find this machine's own address.
                trust_env=False,
            ) as api:
                run_id = await self._start_run(api)
                killing = asyncio.create_task(self._kill())
                try:
                    await self._watch(api, run_id)
                    if self._killed:
                        await killing
                finally:
                    killing.cancel()
                    await asyncio.wait([killing])
                run = _json(await api.get(f"/api/workflows/runs/{run_id}"))["run"]
        self._screen.undraw()
        return self._sum_up(run)

    async def _start(self, key: str) -> str:
        """Start the service; answers its address."""
        allowed = f"{HOST}:{self.receiver.port}"
        self._screen.say("receiver", f"listens on {self.receiver.url('')}")
        self._screen.say(
            "demo", f"steps may reach it, because SIGNALBOX_EGRESS_ALLOW={allowed} says so"
        )
        self._screen.say("service", "starts on a temporary directory: Temporal, worker, API")
        url = await self.service.start(
            {"SIGNALBOX_API_KEY": key, "SIGNALBOX_EGRESS_ALLOW": allowed}
        )
        self._screen.say("service", f"ready at {url}")
        worker = await self.service.worker()
        self._screen.say("service", f"its worker is process {worker}")
        self._screen.worker(f"process {worker}", "green")
        return url

    async def _start_run(self, api: httpx2.AsyncClient) -> str:
        """Create the workflow and run it; answers the run's id."""
        made = _json(
            await api.post(
                "/api/workflows",
                json={
                    "definition": self._definition(),
                    "trigger_type": "manual",
                    "tags": ["notifications"],
                },
            )
        )
        self._screen.say("api", f"POST /api/workflows: created {made['id']}")
        # The first delivery may come before the answer.
        self._screen.steps(_STEPS.values())
        path = f"/api/workflows/{made['id']}/run"
        started = _json(await api.post(path, json={"trigger": "manual"}))
        self._screen.say("api", f"POST {path}: started {started['run_id']}")
        return str(started["run_id"])

    def _definition(self) -> dict[str, Any]:
        fetch = {
            "id": "fetch",
            "type": "http_request",
            "config": {"method": "GET", "url": self.receiver.url("/data")},
        }
        notify = {
            "id": "notify",
            "type": "webhook",
            "config": {
                "url": self.receiver.url("/notify"),
                "payload": {"text": "Fetched {{ steps.fetch.output.body.title }}"},
            },
            "depends_on": ["fetch"],
        }
        return {"name": "Fetch and notify", "steps": [fetch, notify]}

    async def _kill(self) -> None:
        """Kill the worker in the middle of the fetch, and see another one take its place."""
        await self._fetching.wait()
        await asyncio.sleep(_SLOW / 2)
        self._screen.say("demo", f"kill -9 {await self.service.worker()}, the worker", "bold red")
        self._killed = True
        self._screen.worker("killed", "red")
        worker = await self.service.replace_worker()
        self._screen.say("service", f"has started another worker, process {worker}", "green")
        self._screen.worker(f"process {worker}", "green")

    async def _watch(self, api: httpx2.AsyncClient, run_id: str) -> None:
        """Show the run's events until it is over."""
        async with api.sse(f"/api/workflows/runs/{run_id}/stream") as events:
            async for event in events:
                self._on_event(event)

    def _on_event(self, event: ServerSentEvent) -> None:
        data: dict[str, Any] = json.loads(event.data)
        shown = [event.event]
        if step := data.get("step_id"):
            shown.append(step)
            if status := _STATUS.get(event.event):
                self._screen.step(step, status)
        shown += [
            f"{name}={json.dumps(data[name])}"
            for name in ("status", "attempt", "output", "error")
            if data.get(name) is not None
        ]
        self._screen.say("stream", " ".join(shown), "cyan")

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.answered is None:
            step = _STEPS.get(delivery.request)
            if step is not None:
                self._screen.delivered(step)
            self._screen.say("receiver", f"{delivery.request}, Idempotency-Key: {delivery.key}")
            if delivery.request == _FETCH:
                self._fetching.set()
        elif not delivery.answered:
            self._screen.say("receiver", f"{delivery.request}: the caller has gone", "red")

    def _sum_up(self, run: dict[str, Any]) -> int:
        """Show what has become of the run; answers the exit status."""
        self._screen.table(
            f"The run has {run['status']}",
            ("step", "status", "attempt", "seconds", "output"),
            (
                [
                    step[name]
                    for name in ("step_id", "status", "attempt", "duration_seconds", "output")
                ]
                for step in run["step_runs"]
            ),
        )
        self._screen.table(
            "What the receiver has seen",
            ("request", "Idempotency-Key", "answered", "body"),
            (
                [one.request, one.key, "yes" if one.answered else "no", one.body]
                for one in self.receiver.deliveries
            ),
        )
        fetched = [one for one in self.receiver.deliveries if one.request == _FETCH]
        promises = {
            "the worker was killed in the middle of the fetch": self._killed
            and not fetched[0].answered,
            "the run has completed all the same": run["status"] == "completed",
            "the fetch was sent again under the same key": len(fetched) > 1
            and len({one.key for one in fetched}) == 1,
        }
        for promise, kept in promises.items():
            self._screen.say("demo", f"{'true' if kept else 'FALSE'}: {promise}", _JUDGED[kept])
        return 0 if all(promises.values()) else 1


def _json(answer: httpx2.Response) -> dict[str, Any]:
    """What the service answered.

    Raises:
        httpx2.HTTPStatusError: it is an error.
    """
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body
