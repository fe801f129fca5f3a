"""A definition as far as it can be read: steps with their places, links and bodies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from pydantic import JsonValue

from engine.catalog import Catalog, StepKind
from engine.definition import MAX_LOOP_DEPTH, MAX_STEPS
from engine.errors import Problem

#: Characters of a user's text that a message shows.
MAX_SHOWN = 100


@dataclass(frozen=True, eq=False)
class Sketch:
    """One step, whatever is wrong with it.

    Attributes:
        raw: the step as it was written; empty when it is not an object.
        path: where it is, as in `steps.2.config.steps.0`.
        number: its position among its siblings, from 1.
        kind: None when the type is missing or unknown.
        body: the steps inside, for a loop that can be read.
        depth: how many loops are around it.
    """

    raw: dict[str, JsonValue]
    path: str
    number: int
    kind: StepKind | None
    scope: "Scope"
    depth: int
    body: "Scope | None" = None

    @property
    def id(self) -> str:
        """The id as it was written, also when its syntax is wrong; empty when there is none."""
        return self.text("id") or ""

    @property
    def label(self) -> str:
        """How messages call the step."""
        return f"Step '{shown(self.id)}'" if self.id else f"Step #{self.number}"

    @property
    def config(self) -> dict[str, JsonValue]:
        """The configuration; empty when it is not an object."""
        config = self.raw.get("config")
        return config if isinstance(config, dict) else {}

    def text(self, key: str) -> str | None:
        """The value of a key, if it is a text."""
        value = self.raw.get(key)
        return value if isinstance(value, str) else None

    @property
    def depends_on(self) -> list[str]:
        """What it names in `depends_on`, each once; past `MAX_STEPS`, one must be unknown."""
        return _texts(self.raw.get("depends_on"))

    @property
    def branches(self) -> dict[str, list[str]]:
        """The ids in each key that lists branch targets."""
        return {
            key: _texts(self.config.get(key)) for key in (self.kind.targets if self.kind else ())
        }

    @property
    def branch_targets(self) -> list[str]:
        """The ids that it lets through or excludes."""
        return [target for named in self.branches.values() for target in named]

    @property
    def rescuers(self) -> list[str]:
        """Its catch step, then its fallback step where `on_error` asks for one."""
        fallback = self.text("fallback_step") if self.text("on_error") == "fallback" else None
        return [other for other in (self.text("catch_step"), fallback) if other]

    def problem(self, message: str, *path: str) -> Problem:
        """A problem of this step; `message` goes on after its name."""
        where = ".".join(filter(None, [self.path, *path]))
        return Problem(f"{self.label}{message}", shown(self.id) or None, where)


@dataclass(frozen=True, eq=False)
class Scope:
    """One list of steps: the whole workflow, or the body of a loop."""

    loop: Sketch | None = None
    steps: list[Sketch] = field(default_factory=list)

    @cached_property
    def by_id(self) -> dict[str, Sketch]:
        """The steps by id; of several with one id, the first."""
        found: dict[str, Sketch] = {}
        for step in self.steps:
            if step.id:
                found.setdefault(step.id, step)
        return found

    def walk(self) -> Iterator[Sketch]:
        """Every step, those in bodies included, in the order written."""
        for step in self.steps:
            yield step
            if step.body is not None:
                yield from step.body.walk()

    def scopes(self) -> Iterator["Scope"]:
        """This list of steps and all inside it."""
        yield self
        for step in self.steps:
            if step.body is not None:
                yield from step.body.scopes()


def sketch_steps(steps: Sequence[JsonValue], catalog: Catalog) -> Scope:
    """Read a definition's list of steps."""
    return _sketch(steps, catalog, Scope(), "steps", 0)


def _sketch(
    steps: Sequence[JsonValue], catalog: Catalog, scope: Scope, path: str, depth: int
) -> Scope:
    for index, raw in enumerate(steps):
        place = f"{path}.{index}"
        kind = _kind(raw, catalog)
        step = Sketch(raw if isinstance(raw, dict) else {}, place, index + 1, kind, scope, depth)
        inner = body_of(raw, kind)
        if inner is not None and kind is not None and depth < MAX_LOOP_DEPTH:
            body = Scope(step)
            object.__setattr__(step, "body", body)
            _sketch(inner, catalog, body, f"{place}.config.{kind.body}", depth + 1)
        scope.steps.append(step)
    return scope


def count_steps(steps: Sequence[JsonValue], catalog: Catalog, depth: int = 0) -> int:
    """How many steps there are, in bodies as well, as deep as bodies may be."""
    count = len(steps)
    for raw in steps:
        inner = body_of(raw, _kind(raw, catalog)) if depth < MAX_LOOP_DEPTH else None
        count += count_steps(inner, catalog, depth + 1) if inner else 0
    return count


def body_of(raw: JsonValue, kind: StepKind | None) -> list[JsonValue] | None:
    """The nested steps as they were written, if there is a list of them."""
    if kind is None or kind.body is None or not isinstance(raw, dict):
        return None
    config = raw.get("config")
    body = config.get(kind.body) if isinstance(config, dict) else None
    return body if isinstance(body, list) else None


def shown(text: str) -> str:
    """A user's text as a message may carry it: short, and always encodable."""
    short = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return short.encode("utf-8", "replace").decode()


def _kind(raw: JsonValue, catalog: Catalog) -> StepKind | None:
    name = raw.get("type") if isinstance(raw, dict) else None
    return catalog.get(name) if isinstance(name, str) else None


def _texts(value: JsonValue) -> list[str]:
    if not isinstance(value, list):
        return []
    texts = dict.fromkeys(item for item in value if isinstance(item, str))
    return list(islice(texts, MAX_STEPS + 1))
