"""`/api/workflows`: author, validate, run, watch, cancel, pause and resume workflows."""

from app.envelope import Surface
from app.surfaces.full_engine.errors import render
from app.surfaces.full_engine.routes import router

SURFACE = Surface("/api/workflows", router, render)
