"""Makes a worker from its parts; tests and production make it the same way.

`engine` and `workflows` are pure by contract (see `pyproject.toml`) and their histories are
replayed in the tests, so production runs the interpreter outside of Temporal's sandbox: 2 to 6
times less CPU for a run. Tests pass the sandboxed runner to have it checked.
"""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import (
    PollerBehaviorAutoscaling,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)

from activities.base import Clients
from activities.clients.agents import Agents
from activities.clients.assessments import Assessments
from activities.clients.buckets import Buckets
from activities.clients.egress import Egress
from activities.clients.http import HttpDoor
from activities.clients.mail import Mail
from activities.clients.models import Models
from activities.clients.records import Records
from activities.clients.runs import Runs
from activities.clients.shell import Shell
from activities.clients.temporal_activities import TemporalActivities
from activities.clients.waits import Waits
from activities.definitions import Definitions
from activities.doing import Desk
from activities.ledger import Ledger
from activities.perform import Performer
from activities.registry import catalog, step_types
from activities.scopes import Scopes
from activities.secrets import Vault
from activities.windows import Windows
from store.database import Database
from store.sealing import Keyring
from worker.settings import Settings
from workflows.batch import BatchWorkflow
from workflows.call import CallWorkflow
from workflows.run import RunWorkflow

#: Seconds that steps in flight have to finish when the worker is asked to stop.
GRACE = 5


@dataclass(frozen=True)
class Built:
    """A worker and what it stands on."""

    worker: Worker
    performer: Performer


@contextlib.asynccontextmanager
async def build(
    client: Client,
    database: Database,
    settings: Settings,
    *,
    worker_id: str,
    runner: WorkflowRunner | None = None,
    cached: int = 1_000,
) -> AsyncGenerator[Built, None]:
    """A worker that has not been started, with its doors open until the block is left."""
    types = step_types()
    definitions, scopes = Definitions(database, catalog()), Scopes(database)
    async with HttpDoor(Egress.parse(settings.egress_allow)) as http:
        foreign = TemporalActivities(client, settings.task_queue, settings.activity_queues)
        runs = Runs(database, client, settings.task_queue, catalog())
        clients = Clients(
            http=http,
            shell=Shell(settings.script_sandbox),
            models=Models(http, settings.ai),
            agents=Agents(database),
            activities=foreign,
            runs=runs,
            waits=Waits(database),
            records=Records(database),
            assessments=Assessments(database, runs),
            mail=Mail(settings.mail_server, settings.smtp_from),
            buckets=Buckets(database, http, settings.files),
        )
        vault = Vault(database, Keyring.parse(settings.secrets_key.get_secret_value()))
        desk = Desk(database, clients, vault, worker_id)
        performer = Performer(desk, definitions, scopes)
        windows = Windows(desk, definitions, catalog(), types, runs)
        ledger = Ledger(
            database, definitions, scopes, catalog(), client, settings.max_concurrent_runs
        )
        worker = Worker(
            client,
            task_queue=settings.task_queue,
            identity=worker_id,
            workflows=[RunWorkflow, BatchWorkflow, CallWorkflow],
            activities=[
                ledger.open_scheduled,
                ledger.open_run,
                ledger.open_batch,
                ledger.close_batch,
                ledger.park_run,
                ledger.place_run,
                ledger.record,
                ledger.close_loop,
                ledger.close_run,
                windows.perform_lanes,
                performer.call_is_wanted,
                *(performer.activity(name, step) for name, step in types.items()),
            ],
            workflow_runner=runner or UnsandboxedWorkflowRunner(),
            max_cached_workflows=cached,
            max_concurrent_activities=200,
            max_concurrent_local_activities=400,
            workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
            activity_task_poller_behavior=PollerBehaviorAutoscaling(),
            # A cancel reaches a heartbeating step within a second; the default is 20 s late.
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            # After a kill, runs must not wait for the worker that held them in its cache.
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
            graceful_shutdown_timeout=timedelta(seconds=GRACE),
        )
        try:
            yield Built(worker, performer)
        finally:
            foreign.leave()
            await performer.close()
