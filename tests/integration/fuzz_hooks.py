"""What the fuzzer cannot guess: definitions that are valid, in most of the bodies that have one.

And what it must not do: revoke the key that it comes in with, or stay outside of its project.
"""

import os
from typing import Any

import schemathesis

#: The id of its own key.
_OWN = os.environ["FUZZER_KEY_ID"]

_VALID: list[dict[str, Any]] = [
    {
        "name": "One value",
        "steps": [{"id": "one", "type": "transform", "config": {"output": "{{ input }}"}}],
    },
    {
        "name": "A choice",
        "steps": [
            {
                "id": "ask",
                "type": "condition",
                "config": {"expression": "size(input) > 0", "then": ["yes"], "else": ["no"]},
            },
            {"id": "yes", "type": "transform", "config": {"output": 1}},
            {"id": "no", "type": "transform", "config": {"output": 0}},
        ],
    },
    {
        "name": "A patient one",
        "steps": [
            {"id": "rest", "type": "wait", "config": {"duration": 20}},
            {"id": "tell", "type": "transform", "config": {"output": 1}, "depends_on": ["rest"]},
        ],
    },
    {
        "name": "A loop",
        "steps": [
            {
                "id": "each",
                "type": "loop",
                "config": {
                    "items": [1, 2, 3],
                    "steps": [
                        {"id": "twice", "type": "transform", "config": {"output": "{{ item * 2 }}"}}
                    ],
                },
            }
        ],
    },
    {
        "name": "One that fails",
        "steps": [
            {"id": "call", "type": "http_request", "config": {"url": "http://127.0.0.1:1/"}},
        ],
    },
    {
        "name": "One for entities",
        "entity_type": "Vendor",
        "steps": [{"id": "one", "type": "transform", "config": {"output": "{{ entity.id }}"}}],
    },
]
#: What makes a body of `POST /api/v1/workflows` one that is valid.
_FOR_ENTITIES: dict[str, Any] = {
    "entityTypeId": "Vendor",
    "steps": [{"type": "transform", "config": {"output": "{{ entity.id }}"}}],
}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Every other definition is one of these; which one hangs on what it replaces."""
    if isinstance(body, dict) and isinstance(body.get("definition"), dict):
        choice = len(str(body["definition"]))
        if choice % 2:
            return {**body, "definition": _VALID[choice // 2 % len(_VALID)]}
    if isinstance(body, dict) and body.keys() >= _FOR_ENTITIES.keys() and len(str(body)) % 4:
        return {**body, **_FOR_ENTITIES}
    return body


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Rotate and revoke any key but its own, and ask for the key's own project."""
    if case.headers:
        case.headers.pop("X-Project-Id", None)
        if case.path == "/api/v1/workflows":
            # It is hardly let in as it is.
            case.headers.pop("Idempotency-Key", None)
    if case.path.endswith(("/rotate", "/revoke")) and case.path_parameters["key_id"] == _OWN:
        case.path_parameters["key_id"] = "0" * 16
