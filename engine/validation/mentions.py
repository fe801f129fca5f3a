"""Are the expressions well formed, and is what they look at there by the time they are evaluated?

A step may look at the output of every step that is over before it starts: those that come before
it in its own list of steps, and those that come before the loop it is in.
"""

from collections.abc import Iterator

from pydantic import JsonValue

from engine.catalog import Catalog
from engine.errors import Problem
from engine.expressions import (
    References,
    expression_problems,
    expression_references,
    problems,
    references,
)
from engine.validation.batches import for_all, unseen, unseen_elsewhere
from engine.validation.sketch import Scope, Sketch, shown
from engine.validation.upstream import Upstream

#: Variables that hold the item of the loop around a step.
ITEM_VARIABLES = ("item", "index")


def mention_problems(
    scope: Scope, output: JsonValue, catalog: Catalog, *, batch: bool = False
) -> Iterator[Problem]:
    """What is wrong with the templates and expressions of the steps and of the run's output."""
    whole = for_all(scope) if batch else None
    homes = {step.id: step.scope for step in scope.walk() if step.id}
    before = {id(inner): Upstream(inner) for inner in scope.scopes()}
    for step in scope.walk():
        for path, found in _read(step):
            if isinstance(found, Problem):
                yield found
                continue
            yield from (step.problem(text, *path) for text in _misplaced(step.scope, found))
            yield from (step.problem(text, *path) for text in unseen(step, found, whole))
            yield from (step.problem(text, *path) for text in _exposed(step, path, found, catalog))
            for other in sorted(found.steps):
                text = _mistaken(step, other, homes, found, before)
                if text:
                    yield step.problem(text, *path)
    if not batch:
        yield from _output_problems(scope, output, homes, catalog)


# --- reading ------------------------------------------------------------------------------------


def _read(step: Sketch) -> Iterator[tuple[tuple[str, ...], References | Problem]]:
    """Each place of the step that may hold expressions, with what it looks at or its mistake."""
    kind = step.kind
    for key, value in step.config.items():
        if kind is not None and key == kind.body:
            continue
        place = ("config", shown(key))
        if kind is not None and key in kind.expressions and isinstance(value, str):
            yield from ((place, found) for found in _expression(step, value, place))
            continue
        wrong = problems(value, ".".join(place))
        for path, message in wrong:
            yield place, step.problem(f": {message} (in {path})", path)
        if not wrong:
            yield place, references(value)
    when = step.text("when")
    if when is not None:
        yield from ((("when",), found) for found in _expression(step, when, ("when",)))


def _expression(step: Sketch, text: str, place: tuple[str, ...]) -> Iterator[References | Problem]:
    wrong = expression_problems(text)
    for message in wrong:
        yield step.problem(f": {message} (in {'.'.join(place)})", *place)
    if not wrong:
        yield expression_references(text)


# --- judging ------------------------------------------------------------------------------------


def _misplaced(scope: Scope, found: References) -> Iterator[str]:
    if scope.loop is None:
        for name in ITEM_VARIABLES:
            if name in found.roots:
                yield f" uses '{name}', which exists only inside a loop"


def _exposed(
    step: Sketch, place: tuple[str, ...], found: References, catalog: Catalog
) -> Iterator[str]:
    """Secrets where they would be kept, or could be found out by comparing."""
    kind = step.kind
    if not found.secrets or kind is None:
        return
    template = place[0] == "config" and place[1] not in kind.expressions
    if not (template and kind.secrets):
        named = ", ".join(f"'secrets.{shown(name)}'" for name in sorted(found.secrets))
        where = f"{'.'.join(place)} of type '{kind.name}'" if place[0] == "config" else place[0]
        yield f" uses {named} in {where}{_only_in(catalog)}"


def _only_in(catalog: Catalog) -> str:
    types = ", ".join(name for name in sorted(catalog) if catalog[name].secrets)
    return f", where it would not stay secret; secrets are for the config of {types}"


def _mistaken(
    step: Sketch,
    other: str,
    homes: dict[str, Scope],
    found: References,
    before: dict[int, Upstream],
) -> str | None:
    """What is wrong with a step's looking at another one."""
    if other not in homes:
        return f" refers to 'steps.{shown(other)}' which doesn't exist"
    anchor = step
    while other not in anchor.scope.by_id:
        if anchor.scope.loop is None:
            return _hidden(other, homes)
        anchor = anchor.scope.loop
    if other not in found.outputs or (step.kind is not None and step.kind.live):
        return None
    if other == anchor.id:
        own = "its own output" if anchor is step else f"the output of '{shown(other)}' around it"
        return f" uses {own}, which is not there yet"
    if before[id(anchor.scope)].holds(anchor.id, other):
        return None
    whose = "its depends_on" if anchor is step else f"depends_on of '{shown(anchor.id)}'"
    name = f"'{shown(other)}'"
    return f" uses the output of {name} without waiting for it; add {name} to {whose}"


def _hidden(other: str, homes: dict[str, Scope]) -> str:
    loop = homes[other].loop
    around = shown(loop.id) if loop is not None else ""
    return (
        f" refers to 'steps.{shown(other)}' which is hidden inside the loop '{around}'; "
        f"use steps.{around}.output"
    )


def _output_problems(
    scope: Scope, output: JsonValue, homes: dict[str, Scope], catalog: Catalog
) -> Iterator[Problem]:
    wrong = problems(output, "output")
    for path, message in wrong:
        yield Problem(f"The workflow's output: {message} (in {path})", path=path)
    if wrong:
        return
    found = references(output)
    for text in [*_misplaced(scope, found), *unseen_elsewhere(found)]:
        yield Problem(f"The workflow's output{text}", path="output")
    if found.secrets:
        yield Problem(f"The workflow's output uses secrets{_only_in(catalog)}", path="output")
    for other in sorted(found.steps):
        if other not in homes:
            text = f" refers to 'steps.{shown(other)}' which doesn't exist"
        elif other not in scope.by_id:
            text = _hidden(other, homes)
        else:
            continue
        yield Problem(f"The workflow's output{text}", path="output")
