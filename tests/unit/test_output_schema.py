"""Which JSON Schemas a model can be asked to answer by, and what does not fit them."""

from typing import Any

import pytest

from engine.output_schema import LARGEST, output_schema_problems, violations

TITLE = {"type": "string", "pattern": "^[a-z]+$"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"title": TITLE, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["title"],
    "additionalProperties": False,
}


def test_a_schema_that_can_be_used() -> None:
    assert output_schema_problems(SCHEMA) == []
    assert violations(SCHEMA, {"title": "one", "tags": ["a"]}) == []


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({}, "the answer"),
        ({"title": "ONE"}, "title"),
        ({"title": "one", "tags": ["a", 7]}, "tags.1"),
        ({"title": "one", "more": 1}, "the answer"),
        ("secret", "the answer"),
    ],
)
def test_what_does_not_fit(answer: Any, where: str) -> None:
    (found,) = violations(SCHEMA, answer)
    assert found.startswith(f"{where}: ")
    assert "ONE" not in found
    assert "secret" not in found


def test_only_some_of_it_is_told() -> None:
    assert len(violations(SCHEMA, {"title": "one", "tags": [7] * 1_000})) == 10


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "must be `object`"),
        ({"type": "array"}, "must be `object`"),
        ({"type": ["object", "null"]}, "must be `object`"),
        ({"properties": {"a": {"$ref": "https://example.com/"}}}, "references"),
        ({"properties": {"a": {"anyOf": [{"$ref": "#"}]}}}, "references"),
        ({"$dynamicRef": "#x"}, "references"),
        ({"$schema": "https://example.com/schema"}, "not a valid"),
        ({"properties": {"a": {"type": "nothing"}}}, "not a valid"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, "not a valid"),
        ({"properties": {"a": {"pattern": "("}}}, "not a valid"),
        ({"description": "x" * LARGEST}, "characters"),
    ],
)
def test_what_is_no_schema(wrong: dict[str, Any], why: str) -> None:
    schema = wrong if wrong.keys() <= {"type"} else {"type": "object"} | wrong
    (found,) = output_schema_problems(schema)
    assert why in found
