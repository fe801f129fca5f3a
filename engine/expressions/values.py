"""What the operators mean: CEL's rules over JSON values, with whole and decimal numbers mixed.

JSON has one kind of number, so a whole number meets a decimal one as a decimal (CEL itself refuses
`1 + 1.5`). Whole numbers have 64 bits and overflow is an error; true and false are not numbers.
"""

import json
import math

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError, Missing

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_COMPARED_PER_STEP = 256  # characters; comparing is a scan of memory
_FOUND_PER_STEP = 8  # elements that one step looks at for a number or a text


def kind(value: JsonValue) -> str:
    """The name of a value's type, for messages and for `type()`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "double"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "map"


def is_number(value: JsonValue) -> bool:
    """Whether it is a number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: int) -> int:
    """A whole number that fits 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise ExpressionError("overflow: the whole number exceeds 64 bits")
    return value


def decimal(value: float) -> float:
    """A decimal number that JSON can write."""
    if not math.isfinite(value):
        raise ExpressionError("overflow: the decimal number is too large")
    return value


def add(left: JsonValue, right: JsonValue, meter: Meter) -> JsonValue:
    """`+` of numbers, texts or lists."""
    if isinstance(left, str) and isinstance(right, str):
        meter.build_text(len(left) + len(right))
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        meter.spend(len(left) + len(right))
        return left + right
    return calculate("+", left, right)


def calculate(operator: str, left: JsonValue, right: JsonValue) -> int | float:
    """`+ - * / %` of two numbers; `/` of two whole numbers cuts towards zero, as in CEL."""
    if (
        isinstance(left, bool | str | list | dict | None)
        or isinstance(right, bool | str | list | dict | None)
    ):  # fmt: skip
        hint = "; use string(…) or a number" if "string" in (kind(left), kind(right)) else ""
        raise ExpressionError(f"`{operator}` does not take {kind(left)} and {kind(right)}{hint}")
    if operator in "/%" and right == 0:
        raise ExpressionError("division by zero")
    if isinstance(left, int) and isinstance(right, int):
        return whole(_whole_numbers(operator, left, right))
    try:
        return decimal(_decimals(operator, float(left), float(right)))
    except OverflowError:
        raise ExpressionError("overflow: the decimal number is too large") from None


def _whole_numbers(operator: str, left: int, right: int) -> int:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    quotient = abs(left) // abs(right)
    quotient = quotient if (left < 0) == (right < 0) else -quotient
    return quotient if operator == "/" else left - quotient * right


def _decimals(operator: str, left: float, right: float) -> float:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left / right if operator == "/" else math.fmod(left, right)


def equal(left: JsonValue, right: JsonValue, meter: Meter) -> bool:
    """Deep equality: `1 == 1.0`, `1 != true`; other kinds are never equal and never an error."""
    waiting = [(left, right)]
    while waiting:
        a, b = waiting.pop()
        meter.spend(1)
        if isinstance(a, str) and isinstance(b, str):
            meter.spend(min(len(a), len(b)) // _COMPARED_PER_STEP)
            same = a == b
        elif isinstance(a, list) and isinstance(b, list):
            same = len(a) == len(b)
            if same:
                meter.spend(len(a))
                waiting.extend(zip(a, b, strict=True))
        elif isinstance(a, dict) and isinstance(b, dict):
            same = len(a) == len(b) and a.keys() == b.keys()
            if same:
                meter.spend(2 * len(a))
                waiting.extend((value, b[key]) for key, value in a.items())
        else:
            same = (is_number(a) and is_number(b) and a == b) or (a is b and not is_number(a))
        if not same:
            return False
    return True


def less(left: JsonValue, right: JsonValue, operator: str, meter: Meter) -> bool:
    """`left < right` of two numbers or two texts (by code point); `operator` is for the message."""
    if isinstance(left, str) and isinstance(right, str):
        meter.spend(1 + min(len(left), len(right)) // _COMPARED_PER_STEP)
        return left < right
    if isinstance(left, bool) and isinstance(right, bool):
        return left < right
    if (
        isinstance(left, bool | str | list | dict | None)
        or isinstance(right, bool | str | list | dict | None)
    ):  # fmt: skip
        raise ExpressionError(f"`{operator}` does not compare {kind(left)} with {kind(right)}")
    return left < right


def contains(container: JsonValue, wanted: JsonValue, meter: Meter) -> bool:
    """`wanted in container`: an element of a list or a key of a map."""
    if isinstance(container, dict):
        return isinstance(wanted, str) and wanted in container
    if isinstance(container, list):
        if not isinstance(wanted, list | dict):
            # Python finds too much (1 and true are equal there) but never too little.
            meter.spend(1 + len(container) // _FOUND_PER_STEP)
            if wanted not in container:
                return False
        return any(equal(element, wanted, meter) for element in container)
    hint = "; use text.contains(part)" if isinstance(container, str) else ""
    raise ExpressionError(f"`in` takes a list or a map, not {kind(container)}{hint}")


def field(base: JsonValue, key: str) -> JsonValue:
    """`base.key`, where the key stands in the source and may be named in a message."""
    if isinstance(base, dict):
        if key in base:
            return base[key]
        raise Missing(f"there is no key `{key[:80]}`")
    if base is None:
        raise Missing(f"there is no key `{key[:80]}` in null")
    raise ExpressionError(
        f"there are no keys in a value of type {kind(base)}; `{key[:80]}` was asked for"
    )


def item(base: JsonValue, index: JsonValue) -> JsonValue:
    """`base[index]` with a computed index, whose value a message must not show."""
    if isinstance(base, list):
        position = int(index) if isinstance(index, float) and index.is_integer() else index
        if not isinstance(position, int) or isinstance(position, bool):
            raise ExpressionError(f"a list is indexed by a whole number, not by {kind(index)}")
        if not 0 <= position < len(base):
            raise Missing(f"the index is outside of the list, which has {len(base)} elements")
        return base[position]
    if isinstance(base, dict):
        if not isinstance(index, str):
            raise ExpressionError(f"a map is indexed by a string, not by {kind(index)}")
        if index not in base:
            raise Missing("there is no such key")
        return base[index]
    if base is None:
        raise Missing("null has no elements")
    hint = "; use substring(text, from, to)" if isinstance(base, str) else ""
    raise ExpressionError(f"a value of type {kind(base)} has no elements{hint}")


def to_json(value: JsonValue, meter: Meter) -> str:
    """Compact JSON with sorted keys: one text for one value, whatever stored it in between."""
    meter.weigh(value)
    try:
        return json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
        )
    except ValueError:
        raise ExpressionError("the value holds a number that JSON cannot write") from None


def to_text(value: JsonValue, meter: Meter) -> str:
    """A value inside a text: a text as it is, null as nothing, others as compact JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else to_json(value, meter)
