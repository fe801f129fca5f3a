"""Short ways to write the definitions that these tests run."""

from typing import Any
from uuid import uuid4

from tests.receiver import Receiver

Step = dict[str, Any]


def flow(*steps: Step, **more: Any) -> dict[str, Any]:
    """A definition of these steps, under a name of its own."""
    return {"name": f"Flow {uuid4().hex[:8]}", "steps": list(steps), **more}


def get(receiver: Receiver, step_id: str, path: str = "", /, *after: str, **more: Any) -> Step:
    """A step that requests `path`, by default one that is named as the step."""
    config = {"url": receiver.url(path or f"/{step_id}")}
    return {
        "id": step_id,
        "type": "http_request",
        "config": config,
        "depends_on": list(after),
        **more,
    }


def step(type_: str, step_id: str, /, *after: str, **config: Any) -> Step:
    """A step of any type."""
    return {"id": step_id, "type": type_, "config": config, "depends_on": list(after)}


def chain(receiver: Receiver, count: int) -> list[Step]:
    """Requests `s0`, `s1`, … one after the other."""
    return [get(receiver, f"s{i}", "", *([f"s{i - 1}"] if i else [])) for i in range(count)]
