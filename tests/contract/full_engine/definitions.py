"""Definitions that the tests of this surface use."""

from typing import Any

#: No step of it reaches outside.
QUIET: dict[str, Any] = {
    "name": "Quiet",
    "steps": [
        {"id": "first", "type": "transform", "config": {"output": {"n": 1}}},
        {
            "id": "second",
            "type": "transform",
            "config": {"output": "{{ steps.first.output.n }}"},
            "depends_on": ["first"],
        },
    ],
}
