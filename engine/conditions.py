"""Conditions on a record or an event: a CEL expression, or a tree of rules on fields.

    {"combiner": "all" | "any", "children": [rule | tree, …]}
    {"rule_type": "field", "path": ["tier"], "op": "in", "value": ["gold", "silver"]}

A rule never fails: a field that is not there is null, and what cannot be compared does not hold. An
expression can fail, which its caller counts as not holding. Source: contracts §1.3, DESIGN §8.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import JsonValue

from engine.errors import Problem
from engine.expressions import ExpressionError, boolean_problems
from engine.expressions.budget import Meter
from engine.expressions.evaluate import run
from engine.expressions.template import unwrapped
from engine.expressions.values import is_number, kind

#: Variables of an expression.
VARIABLES = frozenset({"event", "entity"})
#: Groups inside one another, rules in a tree, and values in a list of a rule.
DEEPEST = 10
MOST_RULES = 200
MOST_VALUES = 1_000
MAX_PROBLEMS = 100
#: Steps of work that one expression may take: an event may meet many conditions.
_STEPS = 50_000
_GROUP_KEYS = frozenset({"combiner", "children"})
_RULE_KEYS = frozenset({"rule_type", "path", "op", "value"})

Test = Callable[[JsonValue, JsonValue], bool]


def condition_problems(conditions: JsonValue, path: str) -> list[Problem]:
    """Everything that is wrong with an expression or a tree; `MAX_PROBLEMS` at most.

    Args:
        conditions: what the author wrote; None is no condition.
        path: where it is in its document.
    """
    if conditions is None:
        return []
    if isinstance(conditions, str):
        return [
            Problem(f"{path}: {text}", path=path)
            for text in boolean_problems(conditions, VARIABLES)
        ]
    return tree_problems(conditions, path)


def tree_problems(tree: JsonValue, path: str) -> list[Problem]:
    """Everything that is wrong with a tree; `MAX_PROBLEMS` at most."""
    found = [Problem(f"{where}: {text}", path=where) for where, text in _group(tree, path, 1)]
    if not found and (rules := _count(tree)) > MOST_RULES:
        found = [Problem(f"{path}: there are {rules} rules; {MOST_RULES} is the most", path=path)]
    return found[:MAX_PROBLEMS]


Wrong = Iterator[tuple[str, str]]


def _group(node: JsonValue, path: str, depth: int) -> Wrong:
    if not isinstance(node, dict):
        yield path, f"a group must be an object, not {kind(node)}"
        return
    if depth > DEEPEST:
        yield path, f"groups are nested deeper than {DEEPEST}"
        return
    yield from _unknown(node, _GROUP_KEYS, path)
    if node.get("combiner") not in ("all", "any"):
        yield f"{path}.combiner", "must be 'all' or 'any'"
    children = node.get("children")
    if not isinstance(children, list) or not children:
        yield f"{path}.children", "must be a list of at least one rule or group"
        return
    for index, child in enumerate(children):
        here = f"{path}.children.{index}"
        if isinstance(child, dict) and _RULE_KEYS & child.keys():
            yield from _rule(child, here)
        else:
            yield from _group(child, here, depth + 1)


def _rule(node: Mapping[str, JsonValue], path: str) -> Wrong:
    yield from _unknown(node, _RULE_KEYS, path)
    if node.get("rule_type") != "field":
        yield f"{path}.rule_type", "must be 'field'"
    keys = node.get("path")
    if not isinstance(keys, list) or not keys or not all(_is_key(key) for key in keys):
        yield f"{path}.path", "must be a list of at least one key"
    op = node.get("op")
    if not isinstance(op, str) or op not in _OPERATORS:
        yield f"{path}.op", f"must be one of {', '.join(_OPERATORS)}"
        return
    yield from ((f"{path}.value", text) for text in value_problems(op, op, node))


def _unknown(node: Mapping[str, JsonValue], known: frozenset[str], path: str) -> Wrong:
    for key in sorted(node.keys() - known):
        yield path, f"unknown key '{key[:80]}'"


def _is_key(key: JsonValue) -> bool:
    return isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool))


def value_problems(op: str, name: str, node: Mapping[str, JsonValue]) -> list[str]:
    """What is wrong with the `value` of a rule.

    Args:
        op: the operator.
        name: what its author calls it.
        node: the rule, of which nothing but `value` is looked at.
    """
    return list(_value_problems(op, name, node))


def _value_problems(op: str, name: str, node: Mapping[str, JsonValue]) -> Iterator[str]:
    value = node.get("value")
    if op in ("empty", "not_empty"):
        if value is not None:
            yield f"'{name}' takes no value"
    elif "value" not in node:
        yield f"'{name}' needs a value"
    elif op in _LISTED:
        if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
            yield f"'{name}' takes a list of 1 to {MOST_VALUES} values"
    elif op in ("lt", "lte", "gt", "gte"):
        if not _is_ordered(value):
            yield f"'{name}' takes a number or a text, such as a date"
    elif op == "between":
        yield from _between_problems(value)
    elif isinstance(value, dict):
        yield f"'{name}' takes no object"


def _between_problems(value: JsonValue) -> Iterator[str]:
    if not isinstance(value, dict) or value.keys() != {"from", "to"}:
        yield "'between' takes {'from', 'to'}"
        return
    both = (value["from"], value["to"])
    if not all(_is_ordered(end) for end in both):
        yield "'from' and 'to' must be numbers or texts, such as dates"
    elif ordering(*both) is None:
        yield "'from' and 'to' must be of one kind"


def _is_ordered(value: JsonValue) -> bool:
    return isinstance(value, str) or is_number(value)


def _count(node: JsonValue) -> int:
    if isinstance(node, dict) and isinstance(children := node.get("children"), list):
        return sum(_count(child) for child in children)
    return 1


# --- deciding ------------------------------------------------------------------------------------


def holds(
    conditions: JsonValue, event: Mapping[str, Any], entity: Mapping[str, Any] | None
) -> bool:
    """Whether valid conditions hold for an event.

    Args:
        conditions: an expression, a tree, or None, which always holds.
        event: `name` and `data`.
        entity: what it is about, with `fields`; a tree looks into these, or else into the data.

    Raises:
        ExpressionError: an expression cannot be evaluated, or says neither true nor false.
    """
    if conditions is None:
        return True
    if not isinstance(conditions, str):
        return matches(conditions, event["data"] if entity is None else entity["fields"])
    source = unwrapped(conditions)
    scope: dict[str, JsonValue] = {
        "event": dict(event),
        "entity": None if entity is None else dict(entity),
    }
    answer = run(source, scope, Meter(_STEPS))
    if not isinstance(answer, bool):
        raise ExpressionError(f"it must be true or false, not {kind(answer)}", source)
    return answer


def matches(tree: JsonValue, record: JsonValue) -> bool:
    """Whether the rules of a valid tree hold for a record: the object that its paths lead into."""
    assert isinstance(tree, dict)
    if "children" in tree:
        children = tree["children"]
        assert isinstance(children, list)
        every = tree["combiner"] == "all"
        return (all if every else any)(matches(child, record) for child in children)
    keys, op = tree["path"], tree["op"]
    assert isinstance(keys, list)
    assert isinstance(op, str)
    return applies(op, _at(record, keys), tree.get("value"))


def applies(op: str, value: JsonValue, wanted: JsonValue) -> bool:
    """Whether a value is what an operator wants of it."""
    return _OPERATORS[op](value, wanted)


def _at(value: JsonValue, path: Sequence[JsonValue]) -> JsonValue:
    """What a path leads to; null where it leads nowhere."""
    for key in path:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _key(value: JsonValue) -> Hashable:
    """What equal values have in common: `1` and `1.0` are equal, `1` and `true` are not."""
    if isinstance(value, list):
        return ("list", tuple(map(_key, value)))
    if isinstance(value, dict):
        return ("map", frozenset((key, _key(inner)) for key, inner in value.items()))
    return (isinstance(value, bool), value)


def _keys(value: JsonValue) -> set[Hashable]:
    """Those of its elements, or of what is no list."""
    return set(map(_key, value if isinstance(value, list) else [value]))


def _same(left: JsonValue, right: JsonValue) -> bool:
    return _key(left) == _key(right)


def _among(value: JsonValue, listed: JsonValue) -> bool:
    """Whether it is in the list; of a list, whether any element is."""
    return not _keys(value).isdisjoint(_keys(listed))


def _has_any(value: JsonValue, listed: JsonValue) -> bool:
    return isinstance(value, list) and _among(value, listed)


def _has_all(value: JsonValue, listed: JsonValue) -> bool:
    return isinstance(value, list) and _keys(listed) <= _keys(value)


def _contains(value: JsonValue, part: JsonValue) -> bool:
    if isinstance(value, str):
        return isinstance(part, str) and part in value
    return isinstance(value, list) and _key(part) in _keys(value)


def ordering(left: JsonValue, right: JsonValue) -> int | None:
    """Less than, equal to or greater than 0; None when the two cannot be compared."""
    one: Any = left
    other: Any = right
    if isinstance(left, str) and isinstance(right, str):
        moments = _moment(left), _moment(right)
        if None not in moments:
            one, other = moments
    elif not (is_number(left) and is_number(right)):
        return None
    return int(one > other) - int(one < other)


def _moment(text: str) -> datetime | None:
    """A date or a time of ISO 8601; a date is its first moment, and no zone is UTC."""
    if len(text) > 40 or not text[:1].isdigit():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _compared(accepts: Callable[[int], bool]) -> Test:
    def test(value: JsonValue, bound: JsonValue) -> bool:
        order = ordering(value, bound)
        return order is not None and accepts(order)

    return test


def _between(value: JsonValue, ends: JsonValue) -> bool:
    assert isinstance(ends, dict)
    low, high = ordering(value, ends["from"]), ordering(value, ends["to"])
    return low is not None and high is not None and low >= 0 >= high


def _empty(value: JsonValue, _: JsonValue) -> bool:
    return value is None or value in ("", [], {})


def _not(test: Test) -> Test:
    return lambda value, wanted: not test(value, wanted)


_OPERATORS: dict[str, Test] = {
    "is": _same,
    "is_not": _not(_same),
    "in": _among,
    "not_in": _not(_among),
    "contains": _contains,
    "not_contains": _not(_contains),
    "lt": _compared(lambda order: order < 0),
    "lte": _compared(lambda order: order <= 0),
    "gt": _compared(lambda order: order > 0),
    "gte": _compared(lambda order: order >= 0),
    "between": _between,
    "empty": _empty,
    "not_empty": _not(_empty),
    "contains_any": _has_any,
    "contains_all": _has_all,
    "contains_none": _not(_has_any),
}
#: Operators whose value is a list.
_LISTED = frozenset({"in", "not_in", "contains_any", "contains_all", "contains_none"})
