"""The whole house below the HTTP surface, in one process: database, Temporal client, worker.

What a test starts here is carried out by the same worker that production builds.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkflowRunner

from activities.perform import Performer
from activities.registry import catalog
from engine.definition import Definition
from engine.lifecycle import TERMINAL, RunStatus
from store import events, executions, organisations, runs, steps, terminations, workflows
from store import secrets as kept_secrets
from store.database import Database
from store.events import EventRow
from store.places import LIVE
from store.runs import NewRun, RunRow
from store.sealing import Keyring
from store.steps import StepRow
from tests.grammar import check_log
from worker.build import build
from worker.settings import Settings
from workflows.contract import BATCH, RUN, TASK_TIMEOUT, BatchInput, RunInput, workflow_id

#: Seconds after which a run that should have ended is called stuck.
PATIENCE = 60.0
#: The key of secrets, in every house of this process.
SECRETS_KEY = secrets.token_hex(32)


@dataclass
class House:
    """Starts runs and looks at what became of them."""

    client: Client
    database: Database
    queue: str
    org: str
    performer: Performer

    async def define(self, definition: dict[str, Any]) -> workflows.WorkflowRow:
        Definition.model_validate(definition)
        return await self.database.write(
            lambda tx: workflows.create(
                tx,
                self.org,
                name=definition["name"],
                description=None,
                definition=definition,
                status="active",
                trigger_type="manual",
                tags=[],
            )
        )

    async def start(self, definition: dict[str, Any], data: dict[str, Any] | None = None) -> str:
        """Accept and dispatch a run; its id."""
        workflow = await self.define(definition)
        return await self.start_again(workflow, data)

    async def start_again(
        self, workflow: workflows.WorkflowRow, data: dict[str, Any] | None = None
    ) -> str:
        new = NewRun(
            self.org,
            workflow.id,
            workflow.name,
            workflow.version,
            "full_engine",
            "manual",
            data or {},
        )
        run = await self.database.write(lambda tx: runs.accept(tx, new))
        await self.dispatch(run)
        return run.id

    async def dispatch(self, run: RunRow) -> None:
        batch = run.lanes is not None
        await self.client.start_workflow(
            BATCH if batch else RUN,
            BatchInput(run=run.id, n=run.n) if batch else RunInput(run=run.id, n=run.n),
            id=workflow_id(run.id, run.n),
            task_queue=self.queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            task_timeout=timedelta(seconds=TASK_TIMEOUT),
        )
        await self.database.write(lambda tx: runs.dispatched(tx, run.id, run.n))

    async def secret(self, name: str, value: str) -> None:
        """Keep a secret of the house's organisation."""
        ring = Keyring.parse(SECRETS_KEY)
        await self.database.write(lambda tx: kept_secrets.put(tx, self.org, name, value, ring))

    async def run(self, run_id: str) -> RunRow:
        return await self.database.read(lambda tx: runs.get(tx, self.org, run_id))

    async def steps(self, run_id: str) -> dict[str, StepRow]:
        rows = await self.database.read(lambda tx: steps.page_rows(tx, run_id))
        return {row.step_id: row for row in rows}

    async def events(self, run_id: str) -> list[EventRow]:
        return await self.database.read(lambda tx: events.after(tx, {run_id: 0}, 100_000))

    async def until(self, run_id: str, *statuses: RunStatus, patience: float = PATIENCE) -> RunRow:
        """The run once it has one of these statuses (any terminal one by default).

        Whatever the test is about, the log of a run that has come to an end has to be in order.
        """
        wanted = statuses or (*TERMINAL, RunStatus.PAUSED)
        deadline = time.monotonic() + patience
        while True:
            row = await self.run(run_id)
            if row.status in wanted:
                if row.status not in LIVE:
                    check_log(await self.events(run_id), row.status)
                return row
            if time.monotonic() > deadline:
                told = [(e.type, e.step_id) for e in await self.events(run_id)]
                raise AssertionError(f"stuck as {row.status}: {told}")
            await asyncio.sleep(0.05)

    async def finish(
        self, definition: dict[str, Any], data: dict[str, Any] | None = None
    ) -> RunRow:
        """Start a run and wait for its end."""
        return await self.until(await self.start(definition, data))

    async def cancel(self, run_id: str) -> RunRow:
        row = await self.database.write(lambda tx: executions.cancel(tx, self.org, run_id))
        await heard(self.client.get_workflow_handle(row.temporal_id).cancel())
        return row

    async def terminate(self, run_id: str, limit: int = 100) -> RunRow:
        row, _ = await self.database.write(
            lambda tx: terminations.terminate(tx, self.org, run_id, limit)
        )
        await heard(self.client.get_workflow_handle(row.temporal_id).terminate())
        await self.database.write(lambda tx: terminations.terminated(tx, run_id, row.n))
        return row

    async def asked(self, run_id: str, n: int = 1) -> None:
        """Wait until the execution has asked for a place, which is the first thing it does."""
        handle = self.client.get_workflow_handle(workflow_id(run_id, n))
        async with asyncio.timeout(PATIENCE):
            while not any(
                event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
                for event in (await handle.fetch_history()).events
            ):
                await asyncio.sleep(0.05)

    async def forget(self, run_id: str, n: int = 1) -> None:
        """End the execution of a run that is over, if it has not seen that by itself."""
        await heard(self.client.get_workflow_handle(workflow_id(run_id, n)).terminate())

    async def pause(self, run_id: str) -> None:
        row = await self.database.write(lambda tx: executions.pause(tx, self.org, run_id))
        await heard(self.client.get_workflow_handle(row.temporal_id).signal("pause"))

    async def resume(self, run_id: str, from_step: str | None = None) -> RunRow:
        row = await self.resume_later(run_id, from_step)
        await self.dispatch(row)
        return row

    async def resume_later(self, run_id: str, from_step: str | None = None) -> RunRow:
        """Resume the run, and leave it to the caller to dispatch it."""
        return await self.database.write(
            lambda tx: executions.resume(tx, self.org, run_id, from_step, catalog())
        )


async def heard(telling: Awaitable[None]) -> None:
    """Tell an execution something; one that has ended meanwhile need not hear it."""
    try:
        await telling
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


@contextlib.asynccontextmanager
async def open_house(
    client: Client,
    database: Database,
    *,
    runner: WorkflowRunner | None = None,
    limit: int = 100,
    cached: int = 1_000,
    egress: str = "127.0.0.0/8",
    secrets_key: str = SECRETS_KEY,
    data_dir: Path = Path("unused"),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncGenerator[House, None]:
    """A house with a worker of its own on a task queue of its own."""
    queue = f"test-{uuid4().hex}"
    settings = Settings.model_validate(
        {
            "WORKFLOW_MAX_CONCURRENT_RUNS": limit,
            "SIGNALBOX_TASK_QUEUE": queue,
            "SIGNALBOX_EGRESS_ALLOW": egress,
            "SIGNALBOX_SECRETS_KEY": secrets_key,
            "SIGNALBOX_DATA_DIR": data_dir,
            **variables,
        }
    )
    org = await database.write(lambda tx: organisations.ensure(tx, f"org-{queue}"))
    async with (
        build(client, database, settings, worker_id=queue, runner=runner, cached=cached) as built,
        built.worker,
    ):
        yield House(client, database, queue, org, built.performer)
