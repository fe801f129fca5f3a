"""Functions of numbers."""

import math

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError
from engine.expressions.registry import function, list_of, number_of, whole_of
from engine.expressions.values import calculate, decimal, less, whole


@function("sum")
def _sum(meter: Meter, values: JsonValue) -> JsonValue:
    total: int | float = 0
    meter.spend(len(list_of("sum", values)))
    for value in list_of("sum", values):
        total = calculate("+", total, number_of("sum", value))
    return total


def _extreme(meter: Meter, name: str, values: tuple[JsonValue, ...]) -> JsonValue:
    among = list_of(name, values[0]) if len(values) == 1 else list(values)
    if not among:
        raise ExpressionError(f"`{name}` needs at least one value")
    best = among[0]
    less(best, best, name, meter)
    for value in among[1:]:
        meter.spend(1)
        lower, higher = (value, best) if name == "min" else (best, value)
        best = value if less(lower, higher, name, meter) else best
    return best


@function("min", least=1, most=20)
def _min(meter: Meter, *values: JsonValue) -> JsonValue:
    return _extreme(meter, "min", values)


@function("max", least=1, most=20)
def _max(meter: Meter, *values: JsonValue) -> JsonValue:
    return _extreme(meter, "max", values)


@function("abs")
def _abs(meter: Meter, value: JsonValue) -> JsonValue:
    number = abs(number_of("abs", value))
    return whole(number) if isinstance(number, int) else number


@function("round", least=1, most=2)
def _round(meter: Meter, value: JsonValue, digits: JsonValue = 0) -> JsonValue:
    number, places = number_of("round", value), whole_of("round", digits)
    if not 0 <= places <= 15:
        raise ExpressionError("`round` takes 0 to 15 digits")
    if isinstance(number, int):
        return number
    if places:
        return decimal(round(number, places))
    # Half away from zero, as people and CEL do it; Python rounds half to even.
    return whole(int(math.copysign(math.floor(abs(number) + 0.5), number)))


@function("floor")
def _floor(meter: Meter, value: JsonValue) -> JsonValue:
    return whole(math.floor(number_of("floor", value)))


@function("ceil")
def _ceil(meter: Meter, value: JsonValue) -> JsonValue:
    return whole(math.ceil(number_of("ceil", value)))
