"""`/api/workflows`: author, validate, run, watch, cancel, pause, resume and schedule workflows."""

from app.envelope import Surface
from app.surfaces.full_engine.agents.routes import router as agents
from app.surfaces.full_engine.audit.routes import router as audit
from app.surfaces.full_engine.errors import ErrorOut, render
from app.surfaces.full_engine.keys.routes import router as keys
from app.surfaces.full_engine.runs.reading import router as run_pages
from app.surfaces.full_engine.runs.routes import router as runs
from app.surfaces.full_engine.schedules.routes import router as schedules
from app.surfaces.full_engine.secrets.routes import router as secrets
from app.surfaces.full_engine.step_types.routes import router as step_types
from app.surfaces.full_engine.templates.routes import router as templates
from app.surfaces.full_engine.workflows.routes import router as workflows

#: Literal segments first: `{workflow_id}` would take them for an id.
SURFACE = Surface(
    "/api/workflows",
    (run_pages, runs, schedules, templates, step_types, workflows, agents, secrets, keys, audit),
    render,
    (ErrorOut,),
)
