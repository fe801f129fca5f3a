"""What the definition of a batch may not have: each of its steps runs once for every entity.

A lane is carried out by one activity, which goes on from rows after a crash. So its steps do not
wait, have no steps inside and start nothing that outlives them; what is attempted again must be
safe to repeat; and nobody is asked about one lane of many.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from engine.catalog import Catalog
from engine.errors import Problem
from engine.known_keys import known
from engine.validation.sketch import Scope


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


def batch_problems(scope: Scope, output: JsonValue) -> Iterator[Problem]:
    """What the steps and the run's output of a batch cannot be."""
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
    if output is not None:
        text = "The workflow's output: the output of a batch is its counters, and no template"
        yield Problem(text, path="output")
