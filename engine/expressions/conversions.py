"""Functions from one type to another."""

import json
import re
from typing import Any, NoReturn

from pydantic import JsonValue

from engine.expressions.budget import CHARACTERS_PER_STEP, Meter
from engine.expressions.errors import ExpressionError
from engine.expressions.registry import function, number_of, text_of
from engine.expressions.values import INT_MAX, INT_MIN, decimal, kind, to_json, to_text, whole

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@function("type")
def _type(meter: Meter, value: JsonValue) -> JsonValue:
    return kind(value)


@function("int")
def _int(meter: Meter, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value.strip()):
            raise ExpressionError("`int` cannot read the string as a whole number")
        return whole(int(value))
    number = number_of("int", value)
    if isinstance(number, float) and not INT_MIN <= number <= INT_MAX:
        raise ExpressionError("overflow: the whole number exceeds 64 bits")
    return whole(int(number))


@function("double", "float")
def _double(meter: Meter, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        if len(value) > 400 or not _DECIMAL.fullmatch(value.strip()):
            raise ExpressionError("`double` cannot read the string as a number")
        return decimal(float(value))
    number = number_of("double", value)
    if isinstance(number, int) and abs(number) > 10**300:
        raise ExpressionError("overflow: the decimal number is too large")
    return decimal(float(number))


@function("string", "str")
def _string(meter: Meter, value: JsonValue) -> JsonValue:
    return to_text(value, meter)


@function("bool")
def _bool(meter: Meter, value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ExpressionError("`bool` takes true, false, 'true' or 'false'")


@function("json")
def _json(meter: Meter, value: JsonValue) -> JsonValue:
    return to_json(value, meter)


@function("from_json")
def _from_json(meter: Meter, text: JsonValue) -> JsonValue:
    source = text_of("from_json", text)
    # A value costs some 50 bytes of memory for two characters, so reading is dearer than writing.
    meter.spend(1 + 4 * len(source) // CHARACTERS_PER_STEP)
    try:
        value: Any = json.loads(source, parse_constant=_no_constant, parse_float=_finite)
    except ExpressionError:
        raise
    except ValueError:  # not shown: the parser's message may quote the text
        raise ExpressionError("`from_json` cannot read the string as JSON") from None
    result: JsonValue = value
    return result


def _finite(text: str) -> float:
    return decimal(float(text))


def _no_constant(name: str) -> NoReturn:
    raise ExpressionError(f"`from_json` does not take {name}")
