"""Every row of every example table of the language's page does what it says."""

import json
import re
from pathlib import Path

import pytest
from pydantic import JsonValue

from engine.expressions import ExpressionError, evaluate, render
from engine.expressions.budget import MAX_DEPTH, MAX_LENGTH, MAX_NESTED_LOOPS, MAX_STEPS
from engine.expressions.functions import FUNCTIONS

PAGE = (Path(__file__).parents[2] / "docs/reference/expressions.md").read_text(encoding="utf-8")
_SAMPLE = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
assert _SAMPLE
SCOPE: dict[str, JsonValue] = json.loads(_SAMPLE[1])


def rows(head: str) -> list[tuple[str, str]]:
    """The cells of all tables whose first column is called `head`."""
    found: list[tuple[str, str]] = []
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 2:
            inside = False
        elif cells[0] == head:
            inside = True
        elif inside and not cells[0].startswith("---"):
            found.append(
                (re.split(r"(?<!\\)\|", line)[1].strip()[1:-1].replace("\\|", "|"), cells[1])
            )
    return found  # fmt: skip


@pytest.mark.parametrize(("expression", "result"), rows("expression"))
def test_documented_expression(expression: str, result: str) -> None:
    if result.startswith("error: "):
        with pytest.raises(ExpressionError) as caught:
            evaluate(expression, SCOPE)
        assert result.removeprefix("error: ").replace("`", "") in str(caught.value).replace("`", "")
    else:
        assert json.dumps(evaluate(expression, SCOPE)) == json.dumps(json.loads(result[1:-1]))


@pytest.mark.parametrize(("template", "result"), rows("template"))
def test_documented_template(template: str, result: str) -> None:
    assert json.dumps(render(template, SCOPE)) == json.dumps(json.loads(result[1:-1]))


def test_every_function_has_an_example_and_the_limits_are_right() -> None:
    examples = " ".join(expression for expression, _ in rows("expression"))
    assert {name for name in FUNCTIONS if f"{name}(" not in examples} == set()
    limits = dict(rows_of_limits())
    assert limits["length of one expression"] == f"{MAX_LENGTH:,} characters"
    assert limits["nesting, and chains of `+` or `.f()`"] == str(MAX_DEPTH)
    assert limits["loops inside one another"] == str(MAX_NESTED_LOOPS)
    assert f"{MAX_STEPS:,} steps" in limits["work of one template with all its placeholders"]


def rows_of_limits() -> list[tuple[str, str]]:
    section = PAGE.split("## Limits")[1]
    lines = [line.split("|") for line in section.splitlines() if line.startswith("|")]
    return [(cells[1].strip(), cells[2].strip()) for cells in lines]
