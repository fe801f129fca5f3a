"""What is wrong with a value that came in, in words of whoever sent it and not of the validator.

Pydantic says which rule a value breaks; the sentences are ours, so that all surfaces say the same.
No sentence quotes the value.
"""

from collections.abc import Mapping
from typing import Any

#: By the type of a finding of pydantic; what is in braces comes from its context.
_SENTENCES: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number that is finite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "datetime_type": "must be a date and a time of ISO 8601",
    "datetime_parsing": "must be a date and a time of ISO 8601",
    "datetime_from_date_parsing": "must be a date and a time of ISO 8601",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_not_found": "must say its {discriminator}",
    "union_tag_invalid": "must have one of these as its {discriminator}: {expected_tags}",
}
#: What a text has to be that a pattern is for; whoever reads of another one sees the pattern.
_PATTERNS: Mapping[str, str] = {
    r"^[^\x00-\x1f]+$": "must have no control characters",
    r"^[^\x00]*$": "must have no NUL character",
    r"^[^\x00]+$": "must have no NUL character",
    r"^[a-z0-9_]{1,64}$": "must be 1 to 64 lower-case letters, digits and underscores",
}


def said(found: Mapping[str, Any]) -> str:
    """What one finding of pydantic, given as its dictionary, says of the value at its place.

    >>> said({"type": "too_short", "ctx": {"min_length": 1}, "msg": "List should have at …"})
    'needs at least 1 item'
    >>> said({"type": "value_error", "ctx": {}, "msg": "Value error, Give one of them."})
    'give one of them.'
    """
    context = found.get("ctx", {})
    match found["type"]:
        case "too_short":
            return f"needs at least {_counted(context['min_length'], 'item')}"
        case "too_long":
            return f"takes at most {_counted(context['max_length'], 'item')}"
        case "string_too_short":
            return f"needs at least {_counted(context['min_length'], 'character')}"
        case "string_too_long":
            return f"takes at most {_counted(context['max_length'], 'character')}"
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            return _PATTERNS.get(pattern, f"must match the pattern {pattern}")
        case kind if kind in _SENTENCES:
            return _SENTENCES[kind].format(**{key: _plain(one) for key, one in context.items()})
    text: str = found["msg"].removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _plain(value: Any) -> Any:
    """A bound as its author would write it, without a point behind a whole number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
