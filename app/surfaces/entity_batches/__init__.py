"""`/api/v1`: records and their types, and what is done to many of them."""

from app.envelope import Surface
from app.surfaces.entity_batches.batches.routes import router as batches
from app.surfaces.entity_batches.buckets.routes import router as buckets
from app.surfaces.entity_batches.entities.routes import router as entities
from app.surfaces.entity_batches.entity_types.routes import router as entity_types
from app.surfaces.entity_batches.errors import ErrorEnvelopeOut, render
from app.surfaces.entity_batches.jobs.routes import router as jobs
from app.surfaces.entity_batches.workflows.routes import router as workflows

SURFACE = Surface(
    "/api/v1",
    (entity_types, entities, workflows, batches, jobs, buckets),
    render,
    (ErrorEnvelopeOut,),
)
