"""The part of a configuration that a step type knows.

In the definition of a batch a configuration may hold keys of somebody else's: they are kept, and
have no effect. Source: DESIGN §8, "Unknown keys".
"""

from collections.abc import Sequence

from pydantic import AliasChoices, BaseModel, JsonValue, ValidationError


def known(config: dict[str, JsonValue], model: type[BaseModel]) -> dict[str, JsonValue]:
    """The configuration without the keys that `model` refuses for being unknown, however deep.

    A key inside of what may be one of several things stays: which one was meant is not known.

    >>> class Config(BaseModel):
    ...     model_config = {"extra": "forbid"}
    ...     url: str
    >>> known({"url": "{{ input.url }}", "colour": "red"}, Config)
    {'url': '{{ input.url }}'}
    """
    names = _names(model)
    kept = {key: value for key, value in config.items() if key in names}
    try:
        model.model_validate(kept)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            if found["type"] == "extra_forbidden":
                kept = {key: _without(kept[key], key, found["loc"]) for key in kept}
    return kept


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


def _without(value: JsonValue, key: str, loc: Sequence[int | str]) -> JsonValue:
    return _removed(value, loc[1:]) if loc[0] == key and len(loc) > 1 else value


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
