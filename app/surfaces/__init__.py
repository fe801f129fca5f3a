"""The published APIs. A new one is a folder here and a name in `SURFACES`."""

from app.envelope import Surface
from app.surfaces import full_engine

#: The last one's envelope is also that of paths which belong to none.
SURFACES: tuple[Surface, ...] = (full_engine.SURFACE,)
