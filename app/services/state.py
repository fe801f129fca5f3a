"""What the lifespan sets up once and every request uses."""

from dataclasses import dataclass

from app.services.advice import Advice
from app.services.agents import Agents
from app.services.assessments import Assessments
from app.services.audit import Audit
from app.services.auth import Auth
from app.services.batches import Batches
from app.services.buckets import Buckets
from app.services.dispatch import Dispatch
from app.services.entities import Entities
from app.services.entity_types import EntityTypes
from app.services.health import Health
from app.services.imports import Imports
from app.services.jobs import Jobs
from app.services.keys import Keys
from app.services.named_runs import ByName
from app.services.one_offs import OneOffs
from app.services.published_events import Events
from app.services.run_pages import RunPages
from app.services.runs import Runs
from app.services.schedules import Schedules
from app.services.secrets import Secrets
from app.services.stream import Tail
from app.services.templates import Templates
from app.services.workflows import Workflows
from store.database import Database


@dataclass(frozen=True)
class State:
    """The services of one API process."""

    database: Database
    auth: Auth
    audit: Audit
    keys: Keys
    dispatch: Dispatch
    advice: Advice
    agents: Agents
    workflows: Workflows
    templates: Templates
    runs: Runs
    by_name: ByName
    run_pages: RunPages
    batches: Batches
    jobs: Jobs
    schedules: Schedules
    one_offs: OneOffs
    secrets: Secrets
    events: Events
    assessments: Assessments
    entity_types: EntityTypes
    entities: Entities
    imports: Imports
    buckets: Buckets
    tail: Tail
    health: Health
