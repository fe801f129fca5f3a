"""`/v1`: external systems start a workflow by its name, and follow the run."""

from app.envelope import Surface
from app.surfaces.run_by_name.errors import render

SURFACE = Surface("/v1", (), render)
