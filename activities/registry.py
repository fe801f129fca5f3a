"""Finds the step types: every file in `activities/steps/` is one, and its name is the type's.

Raises at import what a misfit would otherwise raise in the middle of a run.
"""

import importlib
import pkgutil
from functools import cache

from activities import steps
from activities.base import AnyStepType, StepType
from engine.catalog import Catalog


@cache
def step_types() -> dict[str, AnyStepType]:
    """Every step type by name, in alphabetical order.

    Raises:
        TypeError: a file in the folder has no `STEP`.
    """
    found: dict[str, AnyStepType] = {}
    for module in sorted(pkgutil.iter_modules(steps.__path__), key=lambda module: module.name):
        step = getattr(importlib.import_module(f"{steps.__name__}.{module.name}"), "STEP", None)
        if not isinstance(step, StepType):
            raise TypeError(f"activities/steps/{module.name}.py has no STEP")
        found[module.name] = step
    return found


@cache
def catalog() -> Catalog:
    """The step types as the language sees them."""
    return {name: step.kind(name) for name, step in step_types().items()}
