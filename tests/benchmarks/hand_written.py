"""What people write without Signalbox: one Temporal workflow with three HTTP activities.

`python -m tests.benchmarks.hand_written worker` and `… api PORT`, both with the SDK's defaults;
the API starts a run at `POST /run` and answers its workflow id. Nothing is recorded but by
Temporal. `TEMPORAL_ADDRESS` and `RECEIVER` are its settings.
"""

import asyncio
import os
import sys
import uuid

import httpx2
import uvicorn
from fastapi import FastAPI
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from tests.benchmarks.three import Three

QUEUE = "hand-written"
_http = httpx2.AsyncClient(trust_env=False)


@activity.defn
async def fetch(url: str) -> dict[str, object]:
    answer = await _http.get(url, headers={"Idempotency-Key": activity.info().workflow_id})
    answer.raise_for_status()
    return {"status_code": answer.status_code, "body": answer.json()}


async def work() -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    await Worker(client, task_queue=QUEUE, workflows=[Three], activities=[fetch]).run()


async def serve(port: int) -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    app = FastAPI()

    @app.post("/run", status_code=202)
    async def run() -> dict[str, str]:
        workflow_id = f"hand-{uuid.uuid4().hex}"
        await client.start_workflow(
            Three.run, os.environ["RECEIVER"], id=workflow_id, task_queue=QUEUE
        )
        return {"run_id": workflow_id}

    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning")).serve()


if __name__ == "__main__":
    asyncio.run(work() if sys.argv[1] == "worker" else serve(int(sys.argv[2])))
