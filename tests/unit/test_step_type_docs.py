"""The page of step types is the one that the types give, and no type is silent about itself."""

from pathlib import Path

import pytest

from activities.registry import step_types
from app.reference import description, step_types_page

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "step-types.md").read_text()
TYPES = step_types()


def test_the_page_is_that_of_the_types() -> None:
    """`make reference` writes it anew."""
    assert step_types_page(TYPES) == PAGE


@pytest.mark.parametrize("name", TYPES)
def test_a_type_says_what_it_is_for_and_what_comes_of_it(name: str) -> None:
    step = TYPES[name]
    section = PAGE.split(f"## `{name}`\n", 1)[1].split("\n## ", 1)[0]
    told = (description(step), step.output, step.errors)
    for text in told:
        assert text.endswith("."), text
        assert " ".join(text.split("\n\n")[0].split()) in " ".join(section.split())
    for key, field in step.config.model_fields.items():
        assert f"| `{field.alias or key}` |" in section
