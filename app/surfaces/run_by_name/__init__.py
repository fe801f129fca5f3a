"""`/v1`: external systems start a workflow by its name, now or later, and follow the run."""

from app.envelope import Surface
from app.surfaces.run_by_name.errors import render
from app.surfaces.run_by_name.runs.routes import router as runs
from app.surfaces.run_by_name.schedules.routes import router as schedules

SURFACE = Surface("/v1", (runs, schedules), render)
