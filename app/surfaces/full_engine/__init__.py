"""`/api/workflows`: author, validate, run, watch, cancel, pause and resume workflows."""

from app.envelope import Surface
from app.surfaces.full_engine.errors import render
from app.surfaces.full_engine.runs.routes import router as runs
from app.surfaces.full_engine.secrets.routes import router as secrets
from app.surfaces.full_engine.workflows.routes import router as workflows

#: Literal segments first: `{workflow_id}` would take them for an id.
SURFACE = Surface("/api/workflows", (runs, workflows, secrets), render)
