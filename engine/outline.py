"""The steps of a definition as whoever looks at its runs needs them: names, order and loops.

It asks less than a plan does: a run keeps its version for ever, also when a type that the version
uses is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.catalog import Catalog


@dataclass(frozen=True)
class Outline:
    """One step.

    Attributes:
        body: the steps inside, for a loop.
        tolerated: the step's failure does not fail what it is in.
        type: the step type.
        name: what people call it; its id when it has no name.
        whole: a batch carries it out one time, and not for each entity.
    """

    step_id: str
    body: tuple["Outline", ...] = ()
    tolerated: bool = False
    type: str = ""
    name: str = ""
    whole: bool = False


def outline(steps: Sequence[Mapping[str, Any]], catalog: Catalog) -> tuple[Outline, ...]:
    """The steps of a definition that was found valid, in its order."""
    found = []
    for step in steps:
        kind = catalog.get(step["type"])
        config = step.get("config", {})
        body = config.get(kind.body, ()) if kind and kind.body else ()
        tolerated = step.get("on_error") in ("continue", "fallback")
        inside = outline(body, catalog)
        name = step.get("name") or step["id"]
        whole = kind is not None and kind.whole is not None and config.get(kind.whole) is True
        found.append(Outline(step["id"], inside, tolerated, step["type"], name, whole))
    return tuple(found)


def find(steps: Sequence[Outline], step_id: str) -> Outline | None:
    """The step of that id, wherever it is nested."""
    for step in steps:
        inner = step if step.step_id == step_id else find(step.body, step_id)
        if inner is not None:
            return inner
    return None
