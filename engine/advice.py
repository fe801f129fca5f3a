"""What a definition for entities may say and probably does not mean; contracts §2.3.

Keys of somebody else's are kept in a configuration and have no effect, and so has a rule for a
field that no entity of the type can have. Neither is an error, and one of them may be a misprint.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from pydantic import JsonValue

from engine.catalog import Catalog, StepKind
from engine.errors import Problem
from engine.known_keys import known, unknown
from engine.validation.sketch import shown

#: Things that are told of.
MOST_ADVICE = 100

Definition = Mapping[str, JsonValue]


def advice(
    definition: Definition, catalog: Catalog, kind: str, fields: Collection[str] | None
) -> list[Problem]:
    """What to look at once more in a definition that is valid, in its order.

    Args:
        definition: as its author wrote it.
        catalog: the step types.
        kind: the name of the type that its entities have.
        fields: the slugs of the fields that those may have; None for any.
    """
    return [*islice(_advice(definition, catalog, kind, fields), MOST_ADVICE)]


def _advice(
    definition: Definition, catalog: Catalog, name: str, fields: Collection[str] | None
) -> Iterator[Problem]:
    steps = definition.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        config, kind = step.get("config"), catalog.get(str(step.get("type")))
        if kind is None or not isinstance(config, dict):
            continue
        place = f"steps.{index}.config"
        for where in unknown(config, kind.config):
            path = ".".join([place, *(shown(str(part)) for part in where)])
            yield Problem(
                f"{path}: has no effect, a '{kind.name}' step knows no such key", None, path
            )
        if fields is not None:
            for path, field in _named(config, kind, place):
                if not {field, field.partition(".")[0]} & {*fields}:
                    text = f"{path}: entities of type '{name}' have no field '{shown(field)}'"
                    yield Problem(text, None, path)


def _named(config: dict[str, JsonValue], kind: StepKind, path: str) -> Iterator[tuple[str, str]]:
    """The fields that a configuration names, each with its place."""
    naming = kind.naming
    if naming is not None and naming.unless not in config:
        yield from _texts(known(config, kind.config), naming.keys, path, within=False)


def _texts(
    value: JsonValue, keys: Collection[str], path: str, *, within: bool
) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        # What a template gives is not known yet.
        if within and "{{" not in value:
            yield path, value
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, keys, f"{path}.{index}", within=within)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in keys or isinstance(inner, list | dict):
                yield from _texts(inner, keys, f"{path}.{shown(key)}", within=key in keys)
