"""`/api/workflows`: author, validate, run, watch, cancel, pause, resume and schedule workflows."""

from app.envelope import Surface
from app.surfaces.full_engine.errors import render
from app.surfaces.full_engine.runs.routes import router as runs
from app.surfaces.full_engine.schedules.routes import router as schedules
from app.surfaces.full_engine.workflows.routes import router as workflows

#: Literal segments first: `{workflow_id}` would take them for an id.
SURFACE = Surface("/api/workflows", (runs, schedules, workflows), render)
