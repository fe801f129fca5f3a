"""The part of a configuration that a step type knows.

In the definition of a batch a configuration may hold keys of somebody else's: they are kept, and
have no effect. Source: DESIGN §8, "Unknown keys".
"""

from collections.abc import Sequence
from functools import reduce

from pydantic import AliasChoices, BaseModel, JsonValue, ValidationError

#: Keys and indices that lead to a value.
Place = tuple[int | str, ...]


def known(config: dict[str, JsonValue], model: type[BaseModel]) -> dict[str, JsonValue]:
    """The configuration without the keys that `unknown` finds.

    >>> class Config(BaseModel):
    ...     model_config = {"extra": "forbid"}
    ...     url: str
    >>> known({"url": "{{ input.url }}", "colour": "red"}, Config)
    {'url': '{{ input.url }}'}
    """
    return reduce(_without, unknown(config, model), config)


def unknown(config: dict[str, JsonValue], model: type[BaseModel]) -> list[Place]:
    """Where the keys are that `model` refuses for being unknown, however deep.

    A key inside of what may be one of several things is none of them: which one was meant is not
    known.
    """
    names = _names(model)
    places: list[Place] = [(key,) for key in config if key not in names]
    try:
        model.model_validate({key: value for key, value in config.items() if key in names})
    except ValidationError as error:
        places += [
            found["loc"]
            for found in error.errors(include_url=False, include_context=False, include_input=False)
            if found["type"] == "extra_forbidden"
        ]
    return [place for place in places if _without(config, place) != config]


def _names(model: type[BaseModel]) -> set[str]:
    """What the fields of a model may be called from outside."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        names.update(choice for choice in choices if isinstance(choice, str))
        if alias is None or model.model_config.get("populate_by_name"):
            names.add(name)
    return names


def _without(config: dict[str, JsonValue], place: Place) -> dict[str, JsonValue]:
    less = _removed(config, place)
    assert isinstance(less, dict)
    return less


def _removed(value: JsonValue, loc: Sequence[int | str]) -> JsonValue:
    """The value without what is at that place; the same if there is no such place in it."""
    here, *rest = loc
    if isinstance(value, dict) and isinstance(here, str) and here in value:
        if not rest:
            return {key: inner for key, inner in value.items() if key != here}
        return {**value, here: _removed(value[here], rest)}
    if isinstance(value, list) and isinstance(here, int) and here < len(value) and rest:
        return [*value[:here], _removed(value[here], rest), *value[here + 1 :]]
    return value
