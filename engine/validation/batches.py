"""What the definition of a batch may not have: each of its steps runs once for every entity.

A lane is carried out by one activity, which goes on from rows after a crash. So its steps do not
wait, have no steps inside and start nothing that outlives them; what is attempted again must be
safe to repeat; and nobody is asked about one lane of many.

Some steps run once for all entities instead, after them. No lane knows of those, and they know of
no lane.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from engine.catalog import Catalog
from engine.errors import Problem
from engine.expressions import References
from engine.known_keys import known
from engine.validation.sketch import Scope, Sketch, shown


def is_batch(raw: dict[str, JsonValue]) -> bool:
    """Whether a document says which type of entities it is for."""
    return raw.get("entity_type") is not None


def with_known_keys(steps: list[JsonValue], catalog: Catalog) -> list[JsonValue]:
    """The steps as far as their types know the keys of their configurations."""
    return [_with_known_keys(step, catalog) for step in steps]


def _with_known_keys(step: JsonValue, catalog: Catalog) -> JsonValue:
    if not isinstance(step, dict):
        return step
    name, config = step.get("type"), step.get("config")
    kind = catalog.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(config, dict):
        return step
    return {**step, "config": known(config, kind.config)}


def for_all(scope: Scope) -> frozenset[str]:
    """The ids of the steps that run once for all entities."""
    return frozenset(step.id for step in scope.walk() if _is_for_all(step))


def _is_for_all(step: Sketch) -> bool:
    key = step.kind.whole if step.kind is not None else None
    return key is not None and step.config.get(key) is True


def unseen(step: Sketch, found: References, whole: frozenset[str] | None) -> Iterator[str]:
    """What an expression of the step looks at and cannot see.

    Args:
        step: the step.
        found: what the expression looks at.
        whole: the steps of a batch that run once for all entities; None outside of batches.
    """
    if whole is None:
        yield from unseen_elsewhere(found)
        return
    if "event" in found.roots:
        yield " uses 'event', and no event starts a batch"
    if step.id in whole:
        if "entity" in found.roots:
            yield " uses 'entity', and runs once for all of them"
        for other in sorted(found.steps - whole):
            yield f" refers to 'steps.{shown(other)}', and runs once for all entities"
    else:
        if "batch" in found.roots:
            yield " uses 'batch', which exists only in a step that runs once for all entities"
        for other in sorted(found.steps & whole):
            yield f" refers to 'steps.{shown(other)}', which runs once, after all entities"


def unseen_elsewhere(found: References) -> Iterator[str]:
    """What an expression looks at that only batches have."""
    if "batch" in found.roots:
        yield " uses 'batch', which exists only where there is an entity_type"


def batch_problems(scope: Scope, output: JsonValue) -> Iterator[Problem]:
    """What the steps and the run's output of a batch cannot be."""
    whole = for_all(scope)
    for step in scope.walk():
        if step.kind is not None and not step.kind.per_entity:
            text = f": a step of type '{step.kind.name}' cannot run for each entity of a batch"
            yield step.problem(text, "type")
        if step.text("effect") == "once":
            text = ": effect 'once' is not possible in a batch, whose steps may be attempted again"
            yield step.problem(text, "effect")
        if step.text("on_error") == "pause":
            text = ": on_error 'pause' is not possible in a batch, whose entities do not wait"
            yield step.problem(text, "on_error")
        yield from _link_problems(step, whole)
    if output is not None:
        text = "The workflow's output: the output of a batch is its counters, and no template"
        yield Problem(text, path="output")


def _link_problems(step: Sketch, whole: frozenset[str]) -> Iterator[Problem]:
    """Links by which what runs for all entities would hang on one of them."""
    for key in ("catch_step", "fallback_step"):
        other = step.text(key)
        if other is not None and step.id in whole:
            yield step.problem(f": what runs once for all entities has no {key}", key)
        elif other in whole:
            yield step.problem(f": {key} '{shown(other)}' runs once for all entities", key)
    for key, named in step.branches.items():
        for other in sorted(whole.intersection(named)):
            text = f": '{key}' names '{shown(other)}' which runs once for all entities"
            yield step.problem(text, "config", key)
