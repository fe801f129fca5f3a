"""Rules on fields: what keeps them, what is said of what does not, and what is no rule."""

from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

from engine.expressions.budget import Meter
from engine.expressions.errors import OverBudget
from engine.rules import Rule, broken


def rule(name: str, value: JsonValue = None, field: str = "f", **more: Any) -> Rule:
    return Rule.model_validate({"field": field, "rule": name, "value": value, **more})


def keeps(made: Rule, value: JsonValue) -> bool:
    return not broken([made], {"f": value}, Meter())


@pytest.mark.parametrize(
    ("name", "bound", "good", "bad"),
    [
        ("required", None, [0, False, " ", [None], {"a": None}], [None, "", [], {}]),
        ("minLength", 2, ["ab", "äö", [1, 2]], ["", "a", [1], 22, True, {"a": 1, "b": 2}]),
        ("maxLength", 2, ["", "ab", [], [1, 2]], ["abc", [1, 2, 3], 1]),
        ("pattern", "^[A-Z]{2}[0-9]+$", ["DE7"], ["xDE7", "DE", "", 7, ["DE7"]]),
        ("pattern", "b", ["abc"], ["ac"]),
        ("min", 3, [3, 3.5, 10**30], [2, 2.999, "3", True, [3]]),
        ("max", 3.5, [3, -1, 3.5], [4, "3", False]),
        ("min", "2026-01-01", ["2026-01-01", "2026-06-30T10:00:00Z"], ["2025-12-31", 2026]),
        ("max", "b", ["a", "b"], ["c", 1]),
        ("oneOf", ["a", 1, None], ["a", 1, 1.0, [], ["a", 1], [None]], ["b", True, "1", ["a", 2]]),
        ("url", None, ["https://a.example/x?y"], ["", "a.example", "ftp://a", "http://a b", 1]),
        ("email", None, ["a@b.example"], ["", "a", "a@", "@b", "a@b@c", "a @b", ["a@b"]]),
    ],
)
def test_what_keeps_a_rule(
    name: str, bound: JsonValue, good: list[JsonValue], bad: list[JsonValue]
) -> None:
    made = rule(name, bound)
    assert [value for value in good if not keeps(made, value)] == []
    assert [value for value in bad if keeps(made, value)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("minLength", 1),
        ("maxLength", 0),
        ("pattern", "."),
        ("min", 1),
        ("max", 1),
        ("oneOf", ["a"]),
        ("url", None),
        ("email", None),
    ],
)
def test_only_required_minds_what_is_not_there(name: str, value: JsonValue) -> None:
    assert keeps(rule(name, value), None)
    assert broken([rule(name, value)], {}, Meter()) == []


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("a", True),
        ("b.c", True),
        ("b.list.1.d", True),
        ("dotted.key", True),
        ("b.list.2.d", False),
        ("b.list.x", False),
        ("b.list.-1", False),
        ("a.b", False),
        ("b.", False),
        ("nothing", False),
    ],
)
def test_a_field_is_a_key_or_a_path(field: str, found: bool) -> None:
    record: dict[str, JsonValue] = {
        "a": "x",
        "b": {"c": 1, "list": [{}, {"d": True}]},
        "dotted.key": 1,
        "dotted": {"key": None},
    }
    assert (broken([rule("required", field=field)], record, Meter()) == []) is found


def test_all_that_is_broken_is_told_in_order_without_what_the_record_holds() -> None:
    rules = [
        rule("required", field="title"),
        rule("minLength", 3, field="name"),
        rule("maxLength", 70, message="Too long for a result page."),
        rule("pattern", "^a$"),
        rule("min", 5, field="n"),
        rule("max", "2026-01-01", field="at"),
        rule("oneOf", ["x"], field="n"),
        rule("url"),
        rule("email"),
    ]
    record: dict[str, JsonValue] = {"name": "hu", "f": "hush" * 20, "n": 1, "at": "2027-01-01"}
    found = broken(rules, record, Meter())
    assert [one.message for one in found] == [
        "'title' is required",
        "'name' must have a length of at least 3",
        "Too long for a result page.",
        "'f' does not match ^a$",
        "'n' must be at least 5",
        "'at' must be at most 2026-01-01",
        "'n' is none of the values that it may have",
        "'f' must be an http or https URL",
        "'f' must be an e-mail address",
    ]
    assert [(one.field, one.rule) for one in found] == [(one.field, one.rule) for one in rules]


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("required", True, "'required' takes no value"),
        ("url", "http://a", "'url' takes no value"),
        ("minLength", None, "'minLength' takes a whole number"),
        ("minLength", -1, "'minLength' takes a whole number"),
        ("maxLength", 1.5, "'maxLength' takes a whole number"),
        ("maxLength", True, "'maxLength' takes a whole number"),
        ("min", None, "'min' takes a number or a text"),
        ("max", [1], "'max' takes a number or a text"),
        ("oneOf", [], "'oneOf' takes a list of 1 to 1000"),
        ("oneOf", "a", "'oneOf' takes a list of 1 to 1000"),
        ("oneOf", [0] * 1001, "'oneOf' takes a list of 1 to 1000"),
        ("pattern", None, "'pattern' takes a regular expression"),
        ("pattern", "(", "cannot read the pattern"),
        ("pattern", r"(a)\1", "cannot read the pattern"),
        ("pattern", "(?=a)", "cannot read the pattern"),
        ("pattern", "a" * 201, "at most 200 characters"),
        ("pattern", r"(\w{100}){100}", "steps of work"),
        ("between", 1, "Input should be 'required'"),
    ],
)
def test_what_is_no_rule(name: str, value: JsonValue, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rule(name, value)
    (error,) = caught.value.errors()
    assert complaint in error["msg"]
    assert error["loc"] == (("rule",) if name == "between" else ("value",))


def test_patterns_and_lists_pay_for_what_they_look_at() -> None:
    stalling = rule("pattern", "^(a+)+$")
    assert not keeps(stalling, "a" * 100_000 + "b")
    with pytest.raises(OverBudget):
        broken([rule("pattern", r"\w{100}")] * 6, {"f": "x"}, Meter())
    with pytest.raises(OverBudget):
        broken([rule("oneOf", ["x" * 999, *range(999)])], {"f": [*range(999)] * 10}, Meter())
