"""`docs/reference/step-types.md` says what the step types' models say, field by field.

A failure prints the table as it has to be, to be pasted into the page.
"""

import json
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from activities.registry import step_types

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "step-types.md").read_text()
TYPES = step_types()

_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict: "object",
    list: "list",
    type(None): "null",
}


def section(name: str) -> str:
    """What the page says of a type, from its heading to the next."""
    found = re.search(rf"^## `{name}`\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""


def spelled(annotation: Any) -> str:
    """A type as a reader of the page knows it."""
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        options = [spelled(option) for option in get_args(annotation)]
        return " or ".join(option for option in options if option != "null")
    if getattr(annotation, "__name__", "") == "datetime":
        return "time"
    return _NAMES.get(origin or annotation, "any value")


def table(fields: dict[str, FieldInfo]) -> str:
    """The table that the page has to hold."""
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = (
            "required" if field.is_required() else f"`{json.dumps(field.get_default())}`"
        ).replace("`null`", "")
        told = field.description or ""
        key = field.alias or name
        rows.append(f"| `{key}` | {spelled(field.annotation)} | {default} | {told} |")
    return re.sub(r" +\|", " |", "\n".join(rows))


def test_the_page_has_a_section_for_each_type_and_no_other() -> None:
    assert re.findall(r"^## `(\w+)`$", PAGE, re.MULTILINE) == list(TYPES)


@pytest.mark.parametrize("name", TYPES)
def test_the_table_of_a_type_is_that_of_its_model(name: str) -> None:
    expected = table(TYPES[name].config.model_fields)
    found = "\n".join(line for line in section(name).splitlines() if line.startswith("|"))
    assert found == expected, f"\n{expected}\n"


@pytest.mark.parametrize("name", TYPES)
def test_the_page_says_how_a_type_is_carried_out(name: str) -> None:
    lane = {
        "decides": "Decides at once",
        "short": "Begins in the fast lane",
        "long": "An ordinary activity",
    }[TYPES[name].lane]
    assert f"{lane}; {TYPES[name].timeout:g} s unless `timeout` says otherwise." in section(name)
    for key in TYPES[name].expressions:
        assert f"`{key}` is an expression" in section(name)
