"""Is every step well formed by itself: its keys, its type, its configuration?

Pydantic finds the errors; here they become sentences that name the step and the key. What a
placeholder will hold is only known in the run, so complaints about such texts are left to it.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pydantic import JsonValue, ValidationError

from engine.catalog import Catalog
from engine.definition import MAX_LOOP_DEPTH, Definition, Step
from engine.errors import Problem
from engine.validation.sketch import Scope, Sketch, body_of, shown
from engine.wording import said

#: Levels of lists and objects; the deepest legal loops need about twenty.
MAX_NESTING = 100


def unreadable(raw: JsonValue) -> str | None:
    """Why a document is not looked at any further: too deep, or text that is not Unicode."""
    level: list[JsonValue] = [raw]
    for _ in range(MAX_NESTING):
        inner: list[JsonValue] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and not _encodable(value):
                return "The definition holds text that is not valid Unicode."
        if not inner:
            return None
        level = inner
    return f"The definition is nested more than {MAX_NESTING} levels deep."


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def head_problems(raw: dict[str, JsonValue]) -> list[Problem]:
    """What is wrong with the definition outside of its steps."""
    head = {**raw, "steps": [{"id": "any", "type": "any"}]}
    try:
        Definition.model_validate(head, strict=True)
    except ValidationError as error:
        return [
            Problem(f"The workflow: {text}", None, path) for text, path in translated(error, raw)
        ]
    return []


def step_problems(scope: Scope, catalog: Catalog) -> Iterator[Problem]:
    """What is wrong with each step by itself, and ids that are used twice."""
    steps = list(scope.walk())
    uses = Counter(step.id for step in steps)
    told: set[str] = set()
    for step in steps:
        yield from _own_problems(step, catalog)
        if uses[step.id] > 1 and step.id and step.id not in told:
            told.add(step.id)
            yield step.problem(f": the id is used by {uses[step.id]} steps", "id")
        yield from _config_problems(step)
        yield from _body_problems(step)


def _own_problems(step: Sketch, catalog: Catalog) -> Iterator[Problem]:
    if not step.raw:
        yield step.problem(" must be an object with an id and a type")
        return
    wrong: set[str] = set()
    try:
        Step.model_validate(step.raw, strict=True)
    except ValidationError as error:
        for text, path in translated(error, step.raw):
            key, _, _ = path.partition(".")
            wrong.add(key)
            if key == "id" and step.id:
                text = "an id is 1 to 64 lower-case letters, digits and underscores"
            yield step.problem(f": {text}", path)
    name = step.text("type")
    if name is not None and "type" not in wrong and step.kind is None:
        yield step.problem(f": {_unknown_type(name, catalog)}", "type")


def _unknown_type(name: str, catalog: Catalog) -> str:
    near = difflib.get_close_matches(name, catalog, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"unknown type '{shown(name)}'; known types: {', '.join(sorted(catalog))}{hint}"


def _config_problems(step: Sketch) -> Iterator[Problem]:
    config = step.raw.get("config", {})
    if step.kind is None or not isinstance(config, dict):
        return
    try:
        step.kind.config.model_validate(config, strict=True)
    except ValidationError as error:
        for text, path in translated(error, config, within="config", skip=step.kind.body):
            yield step.problem(f": {text}", *path.split("."))


def _body_problems(step: Sketch) -> Iterator[Problem]:
    if step.kind is None or step.kind.body is None or not step.raw:
        return
    body = body_of(step.raw, step.kind)
    place = ("config", step.kind.body)
    if body is None:
        yield step.problem(f": '{step.kind.body}' in config must be a list of steps", *place)
    elif not body:
        yield step.problem(f": '{step.kind.body}' in config has no steps", *place)
    elif step.body is None:
        yield step.problem(f": loops may be nested {MAX_LOOP_DEPTH} deep, not deeper", *place)


def translated(
    error: ValidationError, raw: JsonValue, *, within: str = "", skip: str | None = None
) -> list[tuple[str, str]]:
    """Pydantic's errors as (what is wrong, path), each once.

    Args:
        error: what pydantic found.
        raw: what was validated; the path is walked in it, which leaves out pydantic's own parts.
        within: what paths begin with; only what is within something is rendered before it is used.
        skip: a key whose errors somebody else reports.
    """
    found: dict[tuple[str, str], None] = {}
    for item in error.errors(include_url=False):
        kind, given, loc = item["type"], item["input"], item["loc"]
        if skip is not None and loc[:1] == (skip,):
            continue
        lacking = kind in ("missing", "extra_forbidden")
        if within and isinstance(given, str) and "{{" in given and not lacking:
            continue
        parts = [*([within] if within else []), *_walked(loc, raw, last=lacking)]
        path = ".".join(parts)
        *outer, key = parts or [""]
        place = f" in {'.'.join(outer)}" if outer else ""
        match kind:
            case "missing":
                text = f"'{key}' is missing{place}"
            case "extra_forbidden":
                text = f"unknown key '{key}'{place}"
            case _:
                text = f"{path}: {said(item)}" if path else said(item)
        found[text, path] = None
    return list(found)


def _walked(loc: Sequence[int | str], raw: JsonValue, *, last: bool) -> Iterable[str]:
    here = raw
    for position, part in enumerate(loc):
        inner = _inside(here, part)
        if inner is not None or (last and position == len(loc) - 1):
            yield shown(str(part))
        here = inner[0] if inner is not None else here


def _inside(value: JsonValue, part: int | str) -> tuple[JsonValue] | None:
    """What is under a key or an index, in a tuple because it may be null; None if nothing is."""
    if isinstance(value, dict) and isinstance(part, str) and part in value:
        return (value[part],)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return (value[part],)
    return None
