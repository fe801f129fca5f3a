"""The API process: its routes, and what lives as long as it does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp
from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from activities.registry import catalog, step_types
from app import probes
from app.envelope import error_schemas, install, respond, surface_of
from app.services.aftermath import Aftermath
from app.services.agents import Agents
from app.services.assessments import Assessments
from app.services.audit import Audit, Audited
from app.services.auth import Auth
from app.services.batches import LARGEST_LIST, Batches
from app.services.buckets import Buckets
from app.services.dispatch import Dispatch
from app.services.door import IMPORT_DEADLINE, Bounds, Door, Refused
from app.services.entities import Entities
from app.services.entity_types import EntityTypes
from app.services.head import Headed
from app.services.health import Health
from app.services.imports import Imports
from app.services.jobs import Jobs
from app.services.keys import Keys
from app.services.language import components
from app.services.named_runs import ByName
from app.services.one_offs import OneOffs
from app.services.published_events import Events
from app.services.retention import Retention
from app.services.run_pages import RunPages
from app.services.runs import Runs
from app.services.schedules import Schedules
from app.services.secrets import Secrets
from app.services.state import State
from app.services.stream import Tail
from app.services.sweeper import Sweeper
from app.services.templates import Templates, builtin_templates
from app.services.timetable import Timetable
from app.services.upkeep import Upkeep
from app.services.versions import Versions
from app.services.workflows import Workflows
from app.settings import Settings
from app.surfaces import SURFACES
from store.database import Database
from workflows.contract import DATA_CONVERTER

log = logging.getLogger("signalbox.api")

#: Where Temporal is when `TEMPORAL_ADDRESS` does not say.
TEMPORAL = "127.0.0.1:7233"
_OPENAPI = "/openapi.json"


class Api(FastAPI):
    """The app; its OpenAPI document says that every path but the public ones needs a key."""

    def build_middleware_stack(self) -> ASGIApp:
        """Everything behind the audit log, so that every answer has its number, whoever made it."""
        but = tuple(f"{surface.prefix}/" for surface in SURFACES if not surface.head)
        return Audited(Headed(super().build_middleware_stack(), but))

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            parts = document.setdefault("components", {})
            parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
            parts["schemas"] |= error_schemas(SURFACES) | components(step_types())
            _link(document["paths"], parts["schemas"])
            _without_unpublished(document["paths"], parts["schemas"])
            for route in public_routes(self):
                for operation in document["paths"].get(route.path, {}).values():
                    operation["security"] = []
            self.openapi_schema = document
        return self.openapi_schema


def _link(*parts: Any) -> None:
    """Put a reference where a model says `x-schema`: it takes what only validation judges."""
    for part in parts:
        values = part.values() if isinstance(part, dict) else part
        for value in values:
            if isinstance(value, dict) and "x-schema" in value:
                name = value["x-schema"]
                value.clear()
                value["$ref"] = f"#/components/schemas/{name}"
            elif isinstance(value, dict | list):
                _link(value)


def _without_unpublished(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Take out what FastAPI says of requests that do not fit: surfaces publish their own body."""
    unpublished = {"$ref": "#/components/schemas/HTTPValidationError"}
    for path in paths.values():
        for operation in path.values():
            body = operation["responses"].get("422", {}).get("content", {})
            if body.get("application/json", {}).get("schema") == unpublished:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def create_app(settings: Settings) -> FastAPI:
    """The API of a deployment. Nothing is opened before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings) as state:
            app.state.services = state
            yield

    app = Api(
        title="Signalbox",
        description="Durable workflows written as JSON, started over HTTP, run on Temporal.",
        version="0.1.0",
        lifespan=lifespan,
        openapi_url=_OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend(probes.router.routes)
    install(app, SURFACES)

    def refuse(path: str, refused: Refused) -> Response:
        return respond(surface_of(SURFACES, path).render, refused)

    others = {
        "/api/v1/entities/import": Bounds(settings.import_bytes, IMPORT_DEADLINE),
        "/api/v1/workflows/*/run": Bounds(LARGEST_LIST),
    }
    app.add_middleware(Door, answer=refuse, others=others)
    return app


def public_routes(app: FastAPI) -> list[Route]:
    """The routes that need no key: three at most."""
    paths = {_OPENAPI, *(route.path for route in probes.router.routes if isinstance(route, Route))}
    return [
        route for route in app.router.routes if isinstance(route, Route) and route.path in paths
    ]


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[State]:
    """The services, and the tasks that work beside the requests."""
    database = Database(settings.database_url, durable=True)
    try:
        auth = Auth(database, settings.pepper)
        if settings.api_key is not None:
            await auth.ensure_admin(settings.api_key.get_secret_value())
        client = await _temporal()
        dispatch = Dispatch(client, settings.task_queue, database)
        timetable = Timetable(client, settings.task_queue, database)
        steps = catalog()
        versions = Versions(steps)
        tail = Tail(database)
        audit = Audit(database, settings.audit_days)
        retention = Retention(database, settings.event_days)
        aftermath = Aftermath(database, dispatch)
        duties = [aftermath.sweep, audit.purge, retention.sweep, Upkeep(database, timetable).sweep]
        sweeper = Sweeper(database, dispatch, settings.max_concurrent_runs, duties)
        schedules = Schedules(database, timetable)
        workflows = Workflows(database, steps, dispatch, schedules)
        state = State(
            database=database,
            auth=auth,
            audit=audit,
            keys=Keys(database, auth, settings.pepper),
            dispatch=dispatch,
            agents=Agents(database),
            workflows=workflows,
            templates=Templates(database, workflows, builtin_templates()),
            runs=Runs(database, dispatch, steps, versions, settings.max_concurrent_runs),
            by_name=ByName(database, dispatch, versions),
            run_pages=RunPages(database, versions),
            batches=Batches(database, dispatch, versions),
            jobs=Jobs(database, versions),
            schedules=schedules,
            one_offs=OneOffs(database, timetable),
            secrets=Secrets(database, settings.keyring),
            events=Events(database, aftermath),
            assessments=Assessments(database, dispatch, aftermath),
            entity_types=EntityTypes(database),
            entities=Entities(database, aftermath),
            imports=Imports(database, aftermath),
            buckets=Buckets(database),
            tail=tail,
            health=Health(database, dispatch),
        )
        works = (tail.run, sweeper.run, dispatch.note_started, audit.run, aftermath.run)
        tasks = [asyncio.create_task(_keep(work)) for work in works]
        try:
            yield state
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sweeper.stop()
            await audit.stop()
    finally:
        await database.close()


async def _temporal() -> Client:
    """A client that connects when it is first needed, so that the API outlives Temporal."""
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", TEMPORAL)
    return await Client.connect(**config, lazy=True, data_converter=DATA_CONVERTER)


async def _keep(work: Callable[[], Awaitable[None]]) -> None:
    """Carry on with a task whatever happens in it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("a task beside the requests failed and begins again")
            await asyncio.sleep(1)
