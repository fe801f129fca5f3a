"""JSON Schemas of what a model has to answer.

The top is an object, because that is what every provider can be asked for. A schema stands by
itself: references are refused, so that nothing is fetched and nothing grows when it is written out.
Patterns are matched in time linear to the text.
"""

import json
from collections.abc import Iterator
from itertools import islice

import jsonschema_rs
from pydantic import JsonValue

#: Characters of a schema as JSON, and complaints that are told of one answer.
LARGEST = 32 * 1024
_MOST = 10
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})


def output_schema_problems(schema: dict[str, JsonValue]) -> list[str]:
    """What is wrong with a schema, without quoting it; empty when it can be used."""
    if len(json.dumps(schema)) > LARGEST:
        return [f"the schema has more than {LARGEST:,} characters"]
    if schema.get("type") != "object":
        return ["the schema's `type` must be `object`"]
    if any(_REFERENCES & found.keys() for found in _objects(schema)):
        return ["the schema must not use references; write out what they refer to"]
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, ValueError):
        return ["it is not a valid JSON Schema"]
    return []


def violations(schema: dict[str, JsonValue], value: JsonValue) -> list[str]:
    """Where and how a value differs from a schema without problems; quotes keys and no values."""
    return [
        f"{'.'.join(map(str, error.instance_path)) or 'the answer'}: {error.message}"
        for error in islice(_validator(schema).iter_errors(value), _MOST)
    ]


def _validator(schema: dict[str, JsonValue]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(
        schema, mask="the value", offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def _objects(value: JsonValue) -> Iterator[dict[str, JsonValue]]:
    left = [value]
    while left:
        match left.pop():
            case dict() as found:
                yield found
                left += found.values()
            case list() as found:
                left += found
            case _:
                pass
