"""What the lifespan sets up once and every request uses."""

from dataclasses import dataclass

from app.services.auth import Auth
from app.services.dispatch import Dispatch
from app.services.health import Health
from app.services.runs import Runs
from app.services.secrets import Secrets
from app.services.stream import Tail
from app.services.workflows import Workflows
from store.database import Database


@dataclass(frozen=True)
class State:
    """The services of one API process."""

    database: Database
    auth: Auth
    dispatch: Dispatch
    workflows: Workflows
    runs: Runs
    secrets: Secrets
    tail: Tail
    health: Health
