"""`input_schema`: which schemas are accepted, what does not fit one, and what no schema can do."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from engine.definition import Definition
from engine.schema import MAX_PROBLEMS, MAX_SCHEMA, check_input, schema_problems
from engine.validation import check
from tests.unit.language import CATALOG, http

ORDER: dict[str, JsonValue] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/order",
    "type": "object",
    "required": ["customer", "lines"],
    "additionalProperties": False,
    "properties": {
        "customer": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 10},
        "lines": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/line"}},
        "express": {"type": "boolean", "default": True},
    },
    "$defs": {
        "line": {
            "type": "object",
            "required": ["sku"],
            "properties": {"sku": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
        }
    },
}


def found(schema: dict[str, Any], data: JsonValue) -> list[tuple[str, str]]:
    assert schema_problems(schema) == []
    problems = check_input(schema, data)
    assert all(problem.message.startswith(f"{problem.path}: ") for problem in problems)
    return [(problem.path, problem.message.partition(": ")[2]) for problem in problems]


def complaints(schema: dict[str, Any]) -> list[str]:
    """The paths of what is wrong with a schema."""
    return [problem.path for problem in schema_problems(schema)]


def test_an_input_that_fits_is_left_as_it_is() -> None:
    data: JsonValue = {"customer": "ann", "lines": [{"sku": "a", "more": [1]}]}
    assert found(ORDER, data) == []
    assert data == {"customer": "ann", "lines": [{"sku": "a", "more": [1]}]}
    assert check_input(None, data) == []


def test_everything_that_does_not_fit_is_told_at_once_and_without_its_value() -> None:
    data: JsonValue = {
        "customer": "S3CRET",
        "lines": [{"sku": "a", "count": 0}, {"count": "S3CRET"}],
        "other": "S3CRET",
    }
    assert dict(found(ORDER, data)) == {
        "input_data": "Additional properties are not allowed ('other' was unexpected)",
        "input_data.customer": 'the value does not match "^[a-z]+$"',
        "input_data.lines.0.count": "the value is less than the minimum of 1",
        "input_data.lines.1": '"sku" is a required property',
        "input_data.lines.1.count": 'the value is not of type "integer"',
    }
    assert not any("S3CRET" in message for _, message in found(ORDER, data))


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"type": "integer"}, True),
        ({"type": "integer"}, 1.5),
        ({"type": ["string", "null"]}, 1),
        ({"enum": ["a", 1]}, True),
        ({"const": {"a": [1]}}, {"a": [2]}),
        ({"contains": {"type": "string"}}, [1]),
        ({"properties": {"a": False}}, {"a": 1}),
        ({"oneOf": [{"type": "number"}, {"minimum": 3}]}, 4),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, 2),
        ({"not": {"type": "object"}}, {}),
        ({"if": {"type": "string"}, "then": {"maxLength": 1}}, "ab"),
        ({"uniqueItems": True}, [[1], [1.0]]),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}),
        ({"patternProperties": {"^x": {"type": "string"}}}, {"x": 1}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"unevaluatedProperties": False, "properties": {"a": True}}, {"a": 1, "b": 1}),
        ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1]),
    ],
)
def test_keywords_mean_what_the_standard_says(schema: dict[str, Any], data: JsonValue) -> None:
    (told,) = found(schema, data)
    assert told[0].startswith("input_data")
    assert told[1]


def test_an_integer_may_be_written_with_a_fraction_of_zero() -> None:
    assert found({"type": "integer"}, 1.0) == []


def test_problems_of_a_large_input_are_cut() -> None:
    schema = {"items": {"type": "string"}}
    assert len(found(schema, [1] * 1_000)) == MAX_PROBLEMS
    (told,) = found({"additionalProperties": False}, {"k" * 10_000: 1})
    assert len(told[1]) < 400
    ((path, _),) = found({"additionalProperties": {"type": "null"}}, {"k" * 10_000: 1})
    assert len(path) < 200


def test_of_a_very_large_input_the_first_problem_is_told() -> None:
    schema = {"items": {"allOf": [{"type": "string"}] * 10}}
    assert len(found(schema, ["a"] * 20_000 + [1, 2])) == 1


def test_half_a_surrogate_pair_fits_nothing() -> None:
    assert found({"items": {"maxLength": 0}}, ["\ud800"]) == [
        ("input_data", "it holds text that is not valid Unicode")
    ]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ({"type": "text"}, ["input_schema.type"]),
        (
            {"properties": {"a": {"minLength": -1}, "b": 3}, "required": "a"},
            [
                "input_schema.properties.a.minLength",
                "input_schema.properties.b",
                "input_schema.required",
            ],
        ),
        ({"pattern": "("}, ["input_schema.pattern"]),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, ["input_schema.properties.a.pattern"]),
        ({"pattern": r"(a)\1"}, ["input_schema.pattern"]),
        ({"pattern": "((a{1000}){1000}){1000}"}, ["input_schema.pattern"]),
        ({"patternProperties": {"[": True}}, ["input_schema.patternProperties.["]),
        ({"$ref": "https://example.com/a"}, ["input_schema.$ref"]),
        ({"$ref": "file:///etc/passwd"}, ["input_schema.$ref"]),
        ({"items": {"$ref": "#/$defs/nope"}}, ["input_schema.items.$ref"]),
        ({"items": {"$ref": "#other"}}, ["input_schema.items.$ref"]),
        ({"$defs": {"a": {"$anchor": "x"}}}, ["input_schema.$defs.a.$anchor"]),
        ({"$defs": {"a": {"$id": "https://e.com"}}}, ["input_schema.$defs.a.$id"]),
        ({"items": {"$dynamicRef": "#x"}}, ["input_schema.items.$dynamicRef"]),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ["input_schema.$schema"]),
        ({"$ref": "#"}, ["input_schema"]),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, None),
        ({"description": "x" * MAX_SCHEMA}, ["input_schema"]),
    ],
)
def test_a_schema_that_is_not_accepted(schema: dict[str, Any], paths: list[str] | None) -> None:
    found = sorted(set(complaints(schema)))
    assert found == (["input_schema"] if paths is None else paths)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema#"},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"const": "("}}},
        {"const": {"$ref": "https://example.com", "$id": 1, "pattern": "("}},
        {"properties": {"next": {"$ref": "#"}, "a/b~": {"$ref": "#/properties/a~1b~0/items"}}},
        {"format": "nothing of the kind", "unknown": {"type": "nope"}},
    ],
)
def test_a_schema_that_is_accepted(schema: dict[str, Any]) -> None:
    if "a/b~" in schema.get("properties", {}):
        schema["properties"]["a/b~"]["items"] = True
    assert complaints(schema) == []
    assert check_input(schema, {"any": ["thing"]}) in ([], check_input(schema, {}))


def chain(length: int) -> dict[str, Any]:
    """A schema that doubles itself at each of its references."""
    twice = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(length)}
    return {"$ref": "#/$defs/a0", "$defs": twice | {f"a{length}": {"type": "integer"}}}


DOUBLING: dict[str, Any] = {
    "allOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/x"}],
    "$defs": {"x": {"properties": {"a": {"$ref": "#"}, "b": {"type": "integer"}}}},
}


def deep(levels: int) -> JsonValue:
    data: JsonValue = {"b": "no"}
    for _ in range(levels):
        data = {"a": data}
    return data


def test_no_schema_stalls_the_process() -> None:
    """Each of these would take from minutes to for ever, which is what the test would do then."""
    assert complaints(chain(60)) == ["input_schema"]
    assert complaints(chain(1_000)) == ["input_schema"]
    assert complaints(DOUBLING) == []
    assert [path for path, _ in found(DOUBLING, deep(3))] == ["input_data.a.a.a.b"]
    assert found(DOUBLING, deep(60)) == [
        ("input_data", "it is too much to compare with the input_schema")
    ]
    assert found({"pattern": "^(a+)+$"}, "a" * 200_000 + "!")[0][0] == "input_data"
    assert found({"uniqueItems": True}, [[number] for number in range(20_000)]) == []
    listed = {"items": {"enum": [{"a": number} for number in range(1_500)]}}
    assert len(found(listed, [{"a": -1}] * 10_000)) >= 1


def test_a_recursive_schema_is_followed_as_deep_as_an_input_can_be() -> None:
    tree = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["name"],
    }
    data: JsonValue = {"name": "leaf"}
    for _ in range(31):
        data = {"name": "branch", "children": [data, {"name": "leaf"}]}
    assert found(tree, data) == []
    assert [path for path, _ in found(tree, {"name": 1, "children": [{}]})] == [
        "input_data.children.0"
    ]


def test_the_definition_is_checked_with_its_schema() -> None:
    raw: dict[str, JsonValue] = {"name": "w", "steps": [http("a")], "input_schema": ORDER}
    assert check(raw, CATALOG).problems == []
    wrong = raw | {"input_schema": {"type": "text"}, "steps": [http("a", depends_on=["b"])]}
    assert [problem.path for problem in check(wrong, CATALOG).problems] == [
        "input_schema.type",
        "steps.0.depends_on",
    ]
    for value in ("text", True, [1]):
        (problem,) = check(raw | {"input_schema": value}, CATALOG).problems
        assert problem.path == "input_schema"
    assert check(raw | {"input_schema": None}, CATALOG).problems == []


def test_the_documented_keys_are_those_of_a_workflow() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "definition.md"
    table = page.read_text().partition("## The workflow")[2].partition("## A step")[0]
    keys = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert keys == set(Definition.model_fields)
