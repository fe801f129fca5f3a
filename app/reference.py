"""The reference page of the step types, written from the types themselves."""

import json
import textwrap
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from activities.base import AnyStepType

_HEAD = """\
# Step types

What `type` can be, and what `config` holds then. Any text in a config may hold
[expressions](expressions.md), except where a key is an expression itself; a key that is not listed
is an error. What every step has besides, such as `retry` and `on_error`, is in
[Definitions](definition.md).

*Decides at once*: only reads and computes. *Begins in the fast lane*: short requests cost half as
much; what takes longer goes on as an ordinary activity by itself. The time is that of one attempt.

This page is written by `make reference` from the types in `activities/steps/`.
"""

_LANES = {
    "decides": "Decides at once",
    "short": "Begins in the fast lane",
    "long": "An ordinary activity",
}
_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict: "object",
    list: "list",
    type(None): "null",
}


def step_types_page(found: dict[str, AnyStepType]) -> str:
    """The page in Markdown, a section for each type."""
    return "\n".join([_HEAD, *(_section(name, step) for name, step in found.items())])


def _section(name: str, step: AnyStepType) -> str:
    words = "\n\n".join(_wrapped(part) for part in description(step).split("\n\n"))
    points = [
        *(
            f"`{key}` is an expression; the braces around it may be left out."
            for key in step.expressions
        ),
        f"Output: {step.output}",
        f"Errors: {step.errors}",
        f"{_LANES[step.lane]}; {step.timeout:g} s unless `timeout` says otherwise.",
    ]
    if not step.per_entity:
        points.append("Not in a [batch](api-batches.md).")
    told = [_wrapped(point, "* ", "  ") for point in points]
    table = _table(step.config.model_fields)
    return "\n".join([f"## `{name}`", "", words, "", table, "", *told, ""])


def _wrapped(text: str, first: str = "", then: str = "") -> str:
    return textwrap.fill(
        text,
        100,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def description(step: AnyStepType) -> str:
    """What a type is for: the words of its `Config`."""
    schema = step.config.model_json_schema()
    return str(schema.get("description", ""))


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{_default(field)}`"
        cells = (
            f"`{field.alias or name}`",
            _spelled(field.annotation),
            default,
            field.description or "",
        )
        rows.append("| " + " | ".join("" if cell == "`null`" else cell for cell in cells) + " |")
    return "\n".join(rows).replace("|  |", "| |")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return json.dumps(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)


def _spelled(annotation: Any) -> str:
    """A type as a reader of the page knows it."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _spelled(get_args(annotation)[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        options = [_spelled(option) for option in get_args(annotation)]
        return " or ".join(dict.fromkeys(option for option in options if option != "null"))
    if hasattr(annotation, "model_fields"):
        inner = ", ".join(f"`{name}`" for name in annotation.model_fields)
        return f"object ({inner})"
    if getattr(annotation, "__name__", "") == "datetime":
        return "time"
    return _NAMES.get(origin or annotation, "any value")
