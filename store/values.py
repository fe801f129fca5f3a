"""JSON as this room keeps it: compact text that reads back as the value it was made of."""

import json

from pydantic import JsonValue

from engine.errors import Invalid


def encode(value: JsonValue, *, sort: bool = False) -> str:
    """The value as compact JSON text.

    Args:
        value: What to keep.
        sort: Order every object by its keys, so that equal values give equal text, as
            fingerprints need. Otherwise objects keep the order that their author gave them.

    Raises:
        Invalid: It holds what JSON has no word for: NaN or an infinity.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, sort_keys=sort, separators=(",", ":")
        )
    except ValueError as error:
        raise Invalid("NaN and infinities cannot be kept as JSON.", code="not_json") from error
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair is legal in JSON, as an escape, and cannot be written as UTF-8.
        return json.dumps(value, allow_nan=False, sort_keys=sort, separators=(",", ":"))
    return text


def decode(text: str) -> JsonValue:
    """The value that `encode` was given."""
    value: JsonValue = json.loads(text)
    return value


def decode_object(text: str) -> dict[str, JsonValue]:
    """The object that `encode` was given.

    Raises:
        TypeError: The text is not that of an object, so the row was not written by this room.
    """
    value = decode(text)
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {type(value).__name__}")
    return value


def decode_strings(text: str) -> list[str]:
    """The list of strings that `encode` was given.

    Raises:
        TypeError: The text is not that of a list of strings.
    """
    value = decode(text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("expected a list of strings")
    return [str(item) for item in value]
