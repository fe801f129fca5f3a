"""Rules that the fields of a record have to keep, and what is said of those that it breaks.

    {"field": "title", "rule": "maxLength", "value": 70, "message": "Too long for a result page."}

All but `required` say nothing of a field that is not there or null. No message of ours quotes what
a record holds. Source: contracts §2.3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from engine.conditions import MOST_VALUES, ordering
from engine.expressions.budget import Meter
from engine.expressions.regex import check_pattern, matches
from engine.expressions.values import contains, is_number
from engine.records import is_email, is_url

MOST_RULES = 200
#: Characters of a bound or a pattern that a message repeats.
_QUOTED = 200

Name = Literal[
    "required", "minLength", "maxLength", "pattern", "min", "max", "oneOf", "url", "email"
]


class Rule(BaseModel):
    """One rule for one field.

    Attributes:
        field: a key of the record; where it has no such key, keys joined by dots.
        value: the bound, the pattern or the list that some rules have.
        message: said instead of our own words when the rule is broken.
    """

    model_config = ConfigDict(extra="forbid")

    field: str = Field(min_length=1, max_length=500)
    rule: Name
    value: JsonValue = Field(default=None, validate_default=True)
    message: str | None = Field(default=None, min_length=1, max_length=500)

    @field_validator("value")
    @classmethod
    def _fits_the_rule(cls, value: JsonValue, info: ValidationInfo) -> JsonValue:
        name = info.data.get("rule")
        if name is not None:
            _VALUES[name](name, value)
        return value


class Broken(NamedTuple):
    """A rule that a record does not keep."""

    field: str
    rule: str
    message: str


def broken(rules: Sequence[Rule], record: Mapping[str, JsonValue], meter: Meter) -> list[Broken]:
    """The rules that a record does not keep, in the order of the rules.

    Raises:
        OverBudget: looking at all of it would cost too much.
    """
    return [
        Broken(rule.field, rule.rule, rule.message or f"'{rule.field}' {_words(rule)}")
        for rule in rules
        if not _keeps(rule, field_of(record, rule.field), meter)
    ]


def _keeps(rule: Rule, value: JsonValue, meter: Meter) -> bool:
    meter.spend(1)
    if rule.rule == "required":
        return value is not None and value not in ("", [], {})
    return value is None or _TESTS[rule.rule](value, rule.value, meter)


def field_of(record: Mapping[str, JsonValue], field: str) -> JsonValue:
    """What is under a key or, where there is no such key, at the end of a path; else null."""
    if field in record:
        return record[field]
    here: JsonValue = {**record}
    for part in field.split("."):
        if isinstance(here, dict):
            here = here.get(part)
        elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            return None
    return here


def _words(rule: Rule) -> str:
    return _WORDS[rule.rule].format(str(rule.value)[:_QUOTED])


_WORDS: dict[Name, str] = {
    "required": "is required",
    "minLength": "must have a length of at least {}",
    "maxLength": "must have a length of at most {}",
    "pattern": "does not match {}",
    "min": "must be at least {}",
    "max": "must be at most {}",
    "oneOf": "is none of the values that it may have",
    "url": "must be an http or https URL",
    "email": "must be an e-mail address",
}


# --- whether a value keeps to it ----------------------------------------------------------------

Test = Callable[[JsonValue, Any, Meter], bool]


def _length(accepts: Callable[[int, int], bool]) -> Test:
    def test(value: JsonValue, bound: int, _: Meter) -> bool:
        return isinstance(value, str | list) and accepts(len(value), bound)

    return test


def _bound(accepts: Callable[[int], bool]) -> Test:
    def test(value: JsonValue, bound: JsonValue, _: Meter) -> bool:
        order = ordering(value, bound)
        return order is not None and accepts(order)

    return test


def _pattern(value: JsonValue, pattern: str, meter: Meter) -> bool:
    return isinstance(value, str) and matches(value, pattern, meter)


def _one_of(value: JsonValue, listed: list[JsonValue], meter: Meter) -> bool:
    chosen = value if isinstance(value, list) else [value]
    return all(contains(listed, one, meter) for one in chosen)


_TESTS: dict[Name, Test] = {
    "minLength": _length(lambda length, bound: length >= bound),
    "maxLength": _length(lambda length, bound: length <= bound),
    "pattern": _pattern,
    "min": _bound(lambda order: order >= 0),
    "max": _bound(lambda order: order <= 0),
    "oneOf": _one_of,
    "url": lambda value, _, __: is_url(value),
    "email": lambda value, _, __: is_email(value),
}


# --- whether a rule is one ----------------------------------------------------------------------


def _no_value(name: Name, value: JsonValue) -> None:
    if value is not None:
        raise ValueError(f"'{name}' takes no value")


def _length_value(name: Name, value: JsonValue) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"'{name}' takes a whole number, 0 or more")


def _bound_value(name: Name, value: JsonValue) -> None:
    if not (isinstance(value, str) or is_number(value)):
        raise ValueError(f"'{name}' takes a number or a text, such as a date")


def _pattern_value(name: Name, value: JsonValue) -> None:
    if not isinstance(value, str):
        raise ValueError(f"'{name}' takes a regular expression")
    check_pattern(value)


def _list_value(name: Name, value: JsonValue) -> None:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
        raise ValueError(f"'{name}' takes a list of 1 to {MOST_VALUES} values")


_VALUES: dict[Name, Callable[[Name, JsonValue], None]] = {
    "required": _no_value,
    "minLength": _length_value,
    "maxLength": _length_value,
    "pattern": _pattern_value,
    "min": _bound_value,
    "max": _bound_value,
    "oneOf": _list_value,
    "url": _no_value,
    "email": _no_value,
}
