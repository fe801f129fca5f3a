"""`/v1`: external systems start a workflow by its name, follow the run, and tell what happened."""

from app.envelope import Surface
from app.surfaces.run_by_name.assessments.routes import router as assessments
from app.surfaces.run_by_name.errors import DeniedOut, MalformedOut, RefusedOut, render
from app.surfaces.run_by_name.events.routes import router as events
from app.surfaces.run_by_name.keys.routes import router as keys
from app.surfaces.run_by_name.runs.routes import router as runs
from app.surfaces.run_by_name.schedules.routes import router as schedules
from app.surfaces.run_by_name.whoami.routes import router as whoami

SURFACE = Surface(
    "/v1",
    (runs, schedules, assessments, events, keys, whoami),
    render,
    (RefusedOut, DeniedOut, MalformedOut),
    head=False,
)
