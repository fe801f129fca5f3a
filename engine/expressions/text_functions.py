"""Functions of texts. Positions and sizes count characters (code points), never bytes."""

from pydantic import JsonValue

from engine.expressions.budget import Meter
from engine.expressions.errors import ExpressionError
from engine.expressions.regex import matches
from engine.expressions.registry import SEARCHED_PER_STEP, function, list_of, text_of, whole_of
from engine.expressions.values import to_text


@function("lower", "lowerAscii")
def _lower(meter: Meter, text: JsonValue) -> JsonValue:
    meter.build_text(len(text_of("lower", text)))
    return text_of("lower", text).lower()


@function("upper", "upperAscii")
def _upper(meter: Meter, text: JsonValue) -> JsonValue:
    meter.build_text(len(text_of("upper", text)))
    return text_of("upper", text).upper()


@function("trim")
def _trim(meter: Meter, text: JsonValue) -> JsonValue:
    meter.build_text(len(text_of("trim", text)))
    return text_of("trim", text).strip()


@function("startsWith", least=2)
def _starts_with(meter: Meter, text: JsonValue, start: JsonValue) -> JsonValue:
    meter.spend(1 + len(text_of("startsWith", start)) // SEARCHED_PER_STEP)
    return text_of("startsWith", text).startswith(text_of("startsWith", start))


@function("endsWith", least=2)
def _ends_with(meter: Meter, text: JsonValue, end: JsonValue) -> JsonValue:
    meter.spend(1 + len(text_of("endsWith", end)) // SEARCHED_PER_STEP)
    return text_of("endsWith", text).endswith(text_of("endsWith", end))


@function("indexOf", least=2)
def _index_of(meter: Meter, text: JsonValue, part: JsonValue) -> JsonValue:
    meter.spend(1 + len(text_of("indexOf", text)) // SEARCHED_PER_STEP)
    return text_of("indexOf", text).find(text_of("indexOf", part))


@function("matches", least=2)
def _matches(meter: Meter, text: JsonValue, pattern: JsonValue) -> JsonValue:
    return matches(text_of("matches", text), text_of("matches", pattern), meter)


@function("substring", least=2, most=3)
def _substring(meter: Meter, text: JsonValue, start: JsonValue, end: JsonValue = None) -> JsonValue:
    whole_text = text_of("substring", text)
    first = whole_of("substring", start)
    last = len(whole_text) if end is None else whole_of("substring", end)
    if first < 0 or last < first:
        raise ExpressionError("`substring` needs 0 <= from <= to")
    meter.build_text(max(0, min(last, len(whole_text)) - first))
    return whole_text[first:last]


@function("split", least=2)
def _split(meter: Meter, text: JsonValue, separator: JsonValue) -> JsonValue:
    between = text_of("split", separator)
    if not between:
        raise ExpressionError("`split` needs a separator that is not empty")
    meter.build_text(len(text_of("split", text)))
    meter.spend(text_of("split", text).count(between))
    return list(text_of("split", text).split(between))


@function("join", least=1, most=2)
def _join(meter: Meter, parts: JsonValue, separator: JsonValue = "") -> JsonValue:
    between = text_of("join", separator)
    texts = list_of("join", parts)
    meter.spend(len(texts))
    meter.build_text(len(between) * len(texts))
    joined: list[str] = []
    for part in texts:
        text = to_text(part, meter)
        meter.build_text(len(text))
        joined.append(text)
    return between.join(joined)


@function("replace", least=3)
def _replace(meter: Meter, text: JsonValue, old: JsonValue, new: JsonValue) -> JsonValue:
    source, gone, put = (text_of("replace", value) for value in (text, old, new))
    meter.build_text(len(source))
    meter.build_text(source.count(gone) * len(put))
    return source.replace(gone, put)


@function("urlencode")
def _urlencode(meter: Meter, value: JsonValue) -> JsonValue:
    text = to_text(value, meter)
    meter.spend(len(text))
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(
        character if character in plain else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )
