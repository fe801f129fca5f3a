"""Types of records: what their fields may be, and what records may hold."""

from typing import Any

import pytest
from pydantic import JsonValue

from engine.records import from_cell, is_type_name, record_problems, slug_of, type_problems


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("Vendor", True),
        ("Blog post", True),
        ("A", True),
        ("b-1_c", True),
        ("Assessment", False),
        ("", False),
        ("1a", False),
        ("A.B", False),
        ("A\n", False),
        ("x" * 101, False),
        ("a" * 32, False),
        ("A" * 32, True),
        ("Ärzte", False),
    ],
)
def test_names_of_types(name: str, fits: bool) -> None:
    assert is_type_name(name) is fits


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("title", "title"),
        ("riskTier", "riskTier"),
        ("Word count", "word_count"),
        ("  Ä/B  ", "b"),
        ("2nd name", "field_2nd_name"),
        ("???", "field"),
        ("x " * 100, "_".join("x" * 100)[:100]),
    ],
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_a_type_has_not_too_many_fields_and_no_slug_twice() -> None:
    fields: list[dict[str, JsonValue]] = [{"name": f"f{n}", "type": "text"} for n in range(201)]
    assert [problem.path for problem in type_problems(fields)] == ["fields"]
    assert type_problems(fields[:200]) == []
    twice = [fields[0], {"name": "F 0", "slug": "f0", "type": "number"}]
    assert [problem.path for problem in type_problems(twice)] == ["fields.1"]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("text", ["", "x"], [1, ["x"], True]),
        ("number", [1, -1.5], ["1", True, [1]]),
        ("boolean", [True, False], [0, "true"]),
        ("date", ["2026-06-30"], ["2026-6-30", "2026-02-30", 20260630, "x"]),
        ("datetime", ["2026-06-30T10:00:00Z", "2026-06-30"], ["now", 1]),
        ("select", ["a", "b"], ["c", 1, ["a"]]),
        ("multiSelect", [[], ["a"], ["b", "a"]], ["a", ["c"], [1]]),
        (
            "url",
            ["https://a.example/x?y#z", "http://a"],
            ["ftp://a", "https://", "a b", "http://" + "a" * 10**6 + " ", 1],
        ),
        ("email", ["a@b"], ["a", "@b", "a@", "a b@c"]),
        ("relation", ["x", ["x", "y"]], [1, [1], {}]),
        ("json", [1, {}, [None]], []),
        ("formula", ["x", 1], []),
    ],
)
def test_values(kind: str, good: list[JsonValue], bad: list[JsonValue]) -> None:
    field: dict[str, Any] = {"name": "f", "type": kind, "options": ["a", {"value": "b"}]}
    assert type_problems([field]) == []
    for value in good:
        assert record_problems([field], {"f": value}) == [], value
    for value in bad:
        (problem,) = record_problems([field], {"f": value})
        assert problem.path == "fields.f"


def test_any_fields_where_the_type_lists_none() -> None:
    assert record_problems(None, {"a": 1, "b c": {"d": []}}) == []
    assert len(record_problems(None, {"": 1, "x" * 101: 1})) == 2
    assert len(record_problems([], {"a": 1})) == 1
    assert len(record_problems(None, {"a": {"b": ["c", "\0"]}, "d": "\\u0000"})) == 1


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        (None, "7", "7"),
        ("text", "007", "007"),
        ("number", " 7 ", 7),
        ("number", "-1.50", -1.5),
        ("number", "1e5", "1e5"),
        ("number", "nan", "nan"),
        ("boolean", "True", True),
        ("boolean", "ja", "ja"),
        ("multiSelect", "a; b;;", ["a", "b"]),
        ("date", "", None),
    ],
)
def test_cells(kind: str | None, cell: str, value: JsonValue) -> None:
    assert from_cell({"type": kind} if kind else None, cell) == value
