"""Calling a step type's `run` as the wrapper calls it: a valid configuration and a context."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.base import Clients, StepContext
from activities.clients.agents import Agents
from activities.clients.assessments import Assessments
from activities.clients.buckets import Buckets
from activities.clients.egress import Egress
from activities.clients.http import HttpDoor
from activities.clients.mail import Mail, MailServer
from activities.clients.models import Access, Models
from activities.clients.records import Records
from activities.clients.runs import Runs
from activities.clients.shell import Shell
from activities.clients.temporal_activities import TemporalActivities
from activities.clients.waits import Waits
from activities.registry import catalog, step_types
from engine.call import StepCall
from engine.outcomes import Outcome
from store.database import Database

KEY = "ab/step/-/1"
#: The task queue of the worker that the steps think they run on.
OWN_QUEUE = "own-queue"


@dataclass
class Bench:
    """Runs steps with real clients."""

    clients: Clients
    context: dict[str, Any] = field(default_factory=dict)

    async def run(self, name: str, config: dict[str, Any], **context: Any) -> Outcome:
        """What a step of that type answers."""
        step = step_types()[name]
        defaults: dict[str, Any] = {
            "call": StepCall(run="ab", step="step"),
            "key": KEY,
            "step": "step",
            "attempt": 1,
            "timeout": 30.0,
            "now": 1_000.0,
            "began": 1_000.0,
            "scope": {},
        }
        return await step.run(
            step.config.model_validate(config),
            StepContext(clients=self.clients, **defaults | context),
        )


@asynccontextmanager
async def bench(
    egress: str = "127.0.0.0/8",
    access: Access | None = None,
    database: Database | None = None,
    mail: MailServer | None = None,
    files: Path | None = None,
) -> AsyncIterator[Bench]:
    """A bench whose steps may reach these addresses and models; its Temporal is away."""
    kept = database or Database("sqlite:////nonexistent/signalbox.db")
    away = await Client.connect("127.0.0.1:1", lazy=True, data_converter=pydantic_data_converter)
    async with HttpDoor(Egress.parse(egress)) as http:
        runs = Runs(kept, away, "bench", catalog())
        yield Bench(
            Clients(
                http=http,
                shell=Shell("auto"),
                models=Models(http, access or Access()),
                agents=Agents(kept),
                activities=TemporalActivities(away, OWN_QUEUE, "*-queue"),
                runs=runs,
                waits=Waits(kept),
                records=Records(kept),
                assessments=Assessments(kept, runs),
                mail=Mail(mail, "signalbox@example.com"),
                buckets=Buckets(kept, http, files),
            )
        )
    if database is None:
        await kept.close()
