"""Says everything that is wrong with a definition, at once, and runs nothing.

    schema     the `input_schema`, by `engine.schema`
    shape      keys, types and configurations, step by step
    links      depends_on, catch, fallback and branch targets, and the cycles they make
    mentions   expressions: their syntax, and which steps they look at
    batches    what a step cannot be that runs once for every entity

All but the first two read sketches: steps as far as they can be read, however broken the document
is, so that one mistake never hides another. Source: DESIGN §4, contracts §3.3 (the seed's two
messages are kept to the letter).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from pydantic import JsonValue, ValidationError

from engine.catalog import Catalog
from engine.definition import MAX_STEPS, Definition
from engine.errors import Problem
from engine.schema import schema_problems
from engine.validation.batches import batch_problems, is_batch, with_known_keys
from engine.validation.links import link_problems
from engine.validation.mentions import mention_problems
from engine.validation.shape import head_problems, step_problems, translated, unreadable
from engine.validation.sketch import count_steps, sketch_steps

#: Problems that are listed; a hostile document could have a hundred thousand.
MAX_PROBLEMS = 1_000

__all__ = ["Checked", "check"]


@dataclass(frozen=True)
class Checked:
    """What the validation of a document has found.

    Attributes:
        definition: None exactly when there are problems.
        problems: all of them, in a fixed order.
    """

    definition: Definition | None
    problems: list[Problem]


def check(raw: JsonValue, catalog: Catalog) -> Checked:
    """Check a document against the language and the step types of `catalog`.

    Never raises, whatever the JSON, and lists `MAX_PROBLEMS` at most.
    """
    problems = list(islice(_problems(raw, catalog), MAX_PROBLEMS))
    if problems:
        return Checked(None, problems)
    try:
        return Checked(Definition.model_validate(raw, strict=True), [])
    except ValidationError as error:
        return Checked(None, [Problem(text, None, path) for text, path in translated(error, raw)])


def _problems(raw: JsonValue, catalog: Catalog) -> Iterator[Problem]:
    fatal = unreadable(raw)
    if fatal is not None:
        yield Problem(fatal)
    elif isinstance(raw, dict):
        yield from head_problems(raw)
        if isinstance(schema := raw.get("input_schema"), dict):
            yield from schema_problems(schema)
        yield from _steps_problems(raw, catalog)
    else:
        yield Problem("The definition must be an object.")


def _steps_problems(raw: dict[str, JsonValue], catalog: Catalog) -> Iterator[Problem]:
    steps = raw.get("steps")
    if steps is None or steps == []:
        yield Problem("The workflow has no steps.", path="steps")
        return
    if not isinstance(steps, list):
        yield Problem("'steps' must be a list of steps.", path="steps")
        return
    total = count_steps(steps, catalog)
    if total > MAX_STEPS:
        message = f"A workflow has at most {MAX_STEPS} steps, loop bodies included; not {total}."
        yield Problem(message, path="steps")
        return
    batch = is_batch(raw)
    scope = sketch_steps(with_known_keys(steps, catalog) if batch else steps, catalog)
    yield from step_problems(scope, catalog)
    yield from link_problems(scope)
    yield from mention_problems(scope, raw.get("output"), catalog, batch=batch)
    if batch:
        yield from batch_problems(scope, raw.get("output"))
