"""Conditions: what they mean, and everything that can be wrong with them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from engine.conditions import (
    DEEPEST,
    MOST_RULES,
    condition_problems,
    holds,
    matches,
    tree_problems,
)
from engine.expressions import ExpressionError

RECORD: dict[str, JsonValue] = {
    "name": "Acme GmbH",
    "tier": "gold",
    "score": 7,
    "tags": ["pii", "eu"],
    "due": "2026-06-30",
    "at": "2026-06-30T10:00:00+02:00",
    "on": True,
    "none": None,
    "blank": "",
    "nested": {"list": [{"k": 1}]},
}


def rule(path: list[JsonValue], op: str, value: JsonValue = None) -> dict[str, JsonValue]:
    made: dict[str, JsonValue] = {"rule_type": "field", "path": path, "op": op}
    return made if op in ("empty", "not_empty") else made | {"value": value}


def tree(*children: JsonValue, combiner: str = "all") -> dict[str, JsonValue]:
    return {"combiner": combiner, "children": [*children]}


@pytest.mark.parametrize(
    ("key", "op", "value", "expected"),
    [
        ("tier", "is", "gold", True),
        ("tier", "is", "silver", False),
        ("score", "is", 7.0, True),
        ("on", "is", 1, False),
        ("missing", "is", None, True),
        ("tier", "is_not", "gold", False),
        ("missing", "is_not", "gold", True),
        ("tier", "in", ["gold", "silver"], True),
        ("tags", "in", ["us", "eu"], True),
        ("tier", "not_in", ["silver"], True),
        ("missing", "in", ["gold"], False),
        ("name", "contains", "GmbH", True),
        ("name", "contains", "gmbh", False),
        ("tags", "contains", "pii", True),
        ("score", "contains", 7, False),
        ("tags", "not_contains", "pii", False),
        ("score", "lt", 8, True),
        ("score", "lte", 7, True),
        ("score", "gt", 7, False),
        ("score", "gte", 7, True),
        ("score", "gt", "6", False),
        ("missing", "lt", 8, False),
        ("on", "gt", 0, False),
        ("due", "lt", "2026-07-01", True),
        ("due", "lt", "2026-06-30T00:00:01Z", True),
        ("at", "is", "2026-06-30T08:00:00Z", False),
        ("at", "lte", "2026-06-30T08:00:00Z", True),
        ("name", "lt", "B", True),
        ("score", "between", {"from": 7, "to": 9}, True),
        ("score", "between", {"from": 8, "to": 9}, False),
        ("due", "between", {"from": "2026-06-30", "to": "2026-06-30"}, True),
        ("missing", "between", {"from": 8, "to": 9}, False),
        ("none", "empty", None, True),
        ("blank", "empty", None, True),
        ("missing", "empty", None, True),
        ("score", "empty", None, False),
        ("tags", "not_empty", None, True),
        ("tags", "contains_any", ["us", "eu"], True),
        ("tier", "contains_any", ["gold"], False),
        ("tags", "contains_all", ["pii", "eu"], True),
        ("tags", "contains_all", ["pii", "us"], False),
        ("tags", "contains_none", ["us"], True),
        ("tags", "contains_none", ["eu"], False),
        ("missing", "contains_none", ["eu"], True),
    ],
)
def test_operators(key: str, op: str, value: JsonValue, expected: bool) -> None:
    conditions = tree(rule([key], op, value))
    assert tree_problems(conditions, "where") == []
    assert matches(conditions, RECORD) is expected


def test_groups_and_paths() -> None:
    yes, no = rule(["nested", "list", 0, "k"], "is", 1), rule(["nested", "list", 1, "k"], "is", 1)
    assert matches(tree(yes, yes), RECORD)
    assert not matches(tree(yes, no), RECORD)
    assert matches(tree(no, yes, combiner="any"), RECORD)
    assert not matches(tree(no, tree(no, yes)), RECORD)
    assert matches(tree(no, tree(yes, yes), combiner="any"), RECORD)


def test_a_tree_looks_into_the_record_or_else_into_the_event() -> None:
    conditions = tree(rule(["n"], "is", 1))
    event: dict[str, Any] = {"name": "A.B", "data": {"n": 1}}
    assert holds(conditions, event, None)
    assert not holds(conditions, event, {"id": "e", "type": "Vendor", "fields": {"n": 2}})


def test_it_says_which_variables_there_are() -> None:
    (one,) = condition_problems("vendor.x == 1", "t")
    assert "there is no variable `vendor`; there are entity, event, in" in one.message


def test_what_may_be_true_is_no_problem() -> None:
    for fine in ("event.data.ok", "true", "default(event.data.ok, 1 == 2)", "!(1 + 1 == 2)"):
        assert condition_problems(fine, "t") == []


def test_expressions() -> None:
    event: dict[str, Any] = {"name": "A.B", "data": {"n": 1}}
    entity: dict[str, Any] = {"id": "e", "type": "Vendor", "fields": {"tier": "gold"}}
    assert holds(None, event, None)
    assert holds("event.data.n == 1 && entity.fields.tier == 'gold'", event, entity)
    assert holds("{{ entity == null }}", event, None)
    for wrong in ("event.data.n", "event.data.missing == 1", "entity.fields.tier == 'gold'"):
        with pytest.raises(ExpressionError):
            holds(wrong, event, None)
    hungry = "[0,1,2,3,4,5,6,7,8,9].map(a, " + "event.data.l.filter(b, b > a).size()).size() > 0"
    with pytest.raises(ExpressionError, match="50,000 steps"):
        holds(hungry, {"name": "A.B", "data": {"l": list(range(9_000))}}, None)


@pytest.mark.parametrize(
    ("conditions", "paths"),
    [
        ("1 +", ["t"]),
        ("input.x == 1 || steps.a.output", ["t", "t"]),
        ("secrets.TOKEN == 'x'", ["t"]),
        ("vendor.x == 1", ["t"]),
        ("1 + 1", ["t"]),
        ("'true'", ["t"]),
        ("{{ [event.data.ok] }}", ["t"]),
        ("has(event.data.n) ? event.data.n * 2 : 'none'", ["t"]),
        (7, ["t"]),
        ([], ["t"]),
        ({}, ["t.combiner", "t.children"]),
        (tree(), ["t.children"]),
        (tree(combiner="both") | {"more": 1}, ["t", "t.combiner", "t.children"]),
        (tree(7, {"op": "is"}), ["t.children.0", *("t.children.1." + k for k in "rpv")]),
        (tree(rule([], "like", 1)), ["t.children.0.path", "t.children.0.op"]),
        (tree(rule([True], "is", {})), ["t.children.0.path", "t.children.0.value"]),
        (tree(rule(["a"], "in", "x"), rule(["a"], "in", [])), ["t.children.0.v", "t.children.1.v"]),
        (tree(rule(["a"], "lt", None)), ["t.children.0.value"]),
        (tree(rule(["a"], "between", {"from": 1})), ["t.children.0.value"]),
        (tree(rule(["a"], "between", {"from": 1, "to": "b"})), ["t.children.0.value"]),
        (tree(rule(["a"], "empty") | {"value": 1}), ["t.children.0.value"]),
        (tree(*[rule(["a"], "empty")] * (MOST_RULES + 1)), ["t"]),
    ],
)
def test_everything_that_is_wrong_is_told(conditions: JsonValue, paths: list[str]) -> None:
    found = condition_problems(conditions, "t")
    assert len(found) == len(paths)
    for problem, path in zip(found, paths, strict=True):
        assert problem.path.startswith(path)
        assert problem.message.startswith(problem.path)


def test_groups_are_not_nested_without_end() -> None:
    deep: JsonValue = rule(["a"], "empty")
    for _ in range(DEEPEST):
        deep = tree(deep)
    assert condition_problems(deep, "t") == []
    assert len(condition_problems(tree(deep), "t")) == 1


OPERATORS = (
    *("is", "is_not", "in", "not_in", "contains", "not_contains", "lt", "lte", "gt", "gte"),
    *("between", "empty", "not_empty", "contains_any", "contains_all", "contains_none"),
)
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
rules = st.fixed_dictionaries(
    {
        "rule_type": st.just("field"),
        "path": st.lists(st.sampled_from(["a", "b", 0]), min_size=1, max_size=2),
        "op": st.sampled_from(OPERATORS),
        "value": values
        | st.lists(scalars, max_size=3)
        | st.fixed_dictionaries({"from": scalars, "to": scalars}),
    }
)


@settings(max_examples=60)
@given(
    conditions=st.recursive(
        rules,
        lambda inner: st.builds(lambda c: tree(*c), st.lists(inner, max_size=3)),
        max_leaves=4,
    )
)
def test_looking_at_a_tree_never_raises_and_a_valid_one_always_decides(conditions: Any) -> None:
    conditions = conditions if "children" in conditions else tree(conditions)
    if not tree_problems(conditions, "t"):
        for record in ({"a": 1, "b": "x"}, {"a": ["x", {"b": 1}]}, {}, {"a": {"b": [1.5]}}):
            assert matches(conditions, record) in (True, False)
