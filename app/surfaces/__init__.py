"""The published APIs. A new one is a folder here and a name in `SURFACES`."""

from app.envelope import Surface
from app.surfaces import entity_batches, full_engine, run_by_name

#: The last one's envelope is also that of paths which belong to none.
SURFACES: tuple[Surface, ...] = (
    run_by_name.SURFACE,
    entity_batches.SURFACE,
    full_engine.SURFACE,
)
