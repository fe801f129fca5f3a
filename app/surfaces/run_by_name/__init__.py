"""`/v1`: external systems start a workflow by its name, and follow the run."""

from app.envelope import Surface
from app.surfaces.run_by_name.errors import render
from app.surfaces.run_by_name.runs.routes import router as runs

SURFACE = Surface("/v1", (runs,), render)
