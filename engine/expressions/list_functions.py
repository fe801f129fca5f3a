"""Functions of lists and maps, and those that take a text or a list alike."""

import functools

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError
from engine.expressions.registry import (
    SEARCHED_PER_STEP,
    function,
    list_of,
    map_of,
    text_of,
    whole_of,
    wrong,
)
from engine.expressions.values import contains, is_number, less, to_json


@function("size", "len")
def _size(meter: Meter, value: JsonValue) -> JsonValue:
    if isinstance(value, str | list | dict):
        return len(value)
    wrong("size", "a string, a list or a map", value)


@function("contains", least=2)
def _contains(meter: Meter, container: JsonValue, wanted: JsonValue) -> JsonValue:
    if isinstance(container, str):
        meter.spend(1 + len(container) // SEARCHED_PER_STEP)
        return text_of("contains", wanted) in container
    return contains(container, wanted, meter)


@function("reverse")
def _reverse(meter: Meter, value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        meter.build_text(len(value))
        return value[::-1]
    meter.spend(len(list_of("reverse", value)))
    return list_of("reverse", value)[::-1]


@function("first")
def _first(meter: Meter, values: JsonValue) -> JsonValue:
    return next(iter(list_of("first", values)), None)


@function("last")
def _last(meter: Meter, values: JsonValue) -> JsonValue:
    return next(reversed(list_of("last", values)), None)


@function("slice", least=3)
def _slice(meter: Meter, values: JsonValue, start: JsonValue, end: JsonValue) -> JsonValue:
    first, last = whole_of("slice", start), whole_of("slice", end)
    if first < 0 or last < first:
        raise ExpressionError("`slice` needs 0 <= from <= to")
    found = list_of("slice", values)[first:last]
    meter.spend(len(found))
    return found


@function("range", least=1, most=2)
def _range(meter: Meter, start: JsonValue, end: JsonValue = None) -> JsonValue:
    first, last = (0, start) if end is None else (whole_of("range", start), end)
    meter.spend(max(0, whole_of("range", last) - first))
    return list(range(first, whole_of("range", last)))


@function("flatten")
def _flatten(meter: Meter, values: JsonValue) -> JsonValue:
    flat: list[JsonValue] = []
    for value in list_of("flatten", values):
        inner = value if isinstance(value, list) else [value]
        meter.spend(1 + len(inner))
        flat.extend(inner)
    return flat


@function("unique", "distinct")
def _unique(meter: Meter, values: JsonValue) -> JsonValue:
    seen: set[str] = set()
    found: list[JsonValue] = []
    for value in list_of("unique", values):
        # 1 and 1.0 are one value; true, 'a' and 1 differ in their JSON.
        same = isinstance(value, float) and value.is_integer()
        key = to_json(int(value) if same and isinstance(value, float) else value, meter)
        if key not in seen:
            seen.add(key)
            found.append(value)
    return found


@function("sort")
def _sort(meter: Meter, values: JsonValue) -> JsonValue:
    unsorted = list_of("sort", values)
    meter.spend(len(unsorted) * max(1, len(unsorted).bit_length()))
    texts = all(isinstance(value, str) for value in unsorted)
    if not texts and not all(is_number(value) for value in unsorted):
        raise ExpressionError("`sort` takes a list of numbers or a list of strings")

    def compare(left: JsonValue, right: JsonValue) -> int:
        return less(right, left, "sort", meter) - less(left, right, "sort", meter)

    return sorted(unsorted, key=functools.cmp_to_key(compare))


@function("keys")
def _keys(meter: Meter, value: JsonValue) -> JsonValue:
    meter.spend(len(map_of("keys", value)))
    return list(sorted(map_of("keys", value)))


@function("values")
def _values(meter: Meter, value: JsonValue) -> JsonValue:
    entries = map_of("values", value)
    meter.spend(len(entries))
    return [entries[key] for key in sorted(entries)]


@function("merge", least=2)
def _merge(meter: Meter, left: JsonValue, right: JsonValue) -> JsonValue:
    meter.spend(len(map_of("merge", left)) + len(map_of("merge", right)))
    return {**map_of("merge", left), **map_of("merge", right)}
