"""Definitions as steps need them: what each step refers to, worked out once for a version."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from engine.catalog import Catalog, StepKind
from engine.definition import Definition, Step
from engine.expressions import References, expression_references, references
from engine.known_keys import known
from engine.plan import body_of
from store import workflows
from store.database import Database

_KEPT = 256
#: Variables that are made of a run's input.
FROM_INPUT = frozenset({"input", "event", "entity"})


@dataclass(frozen=True)
class Prepared:
    """One step of a version.

    Attributes:
        loops: ids of the loops around it, outermost first.
        needs: the steps whose rows its expressions read, each with the number of loops around it.
        reads_input: its expressions use `input`, or `event` or `entity`, which are parts of it; or
            its type is given them.
        secrets: names of the secrets that its templates use.
    """

    step: Step
    kind: StepKind
    loops: tuple[str, ...]
    needs: dict[str, int]
    reads_input: bool
    secrets: frozenset[str] = frozenset()

    def places(self, iteration: Sequence[int]) -> dict[str, str]:
        """Where the rows that it reads are: for each step the iteration that this one sees."""
        return {
            step_id: ".".join(map(str, iteration[:depth])) for step_id, depth in self.needs.items()
        }


@dataclass(frozen=True)
class Version:
    """An immutable version of a workflow, ready to be carried out."""

    definition: Definition
    steps: dict[str, Prepared]


class Definitions:
    """The versions that were used last; a version never changes, so none is ever stale."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog
        self._kept: OrderedDict[tuple[str, int], Version] = OrderedDict()

    async def get(self, workflow_id: str, version: int) -> Version:
        """The version, from memory or from the store.

        Raises:
            Unavailable: the database does not answer.
        """
        key = (workflow_id, version)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        text = await self._database.read(
            lambda tx: workflows.definition_text(tx, workflow_id, version)
        )
        prepared = prepare(Definition.model_validate_json(text), self._catalog)
        self._kept[key] = prepared
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return prepared


def prepare(definition: Definition, catalog: Catalog) -> Version:
    """Work out what each step of a valid definition refers to."""
    found: dict[str, tuple[Step, StepKind, tuple[str, ...]]] = {}
    _collect(definition.steps, (), catalog, found)
    depth = {step_id: len(loops) for step_id, (_, _, loops) in found.items()}
    steps: dict[str, Prepared] = {}
    for step_id, (written, kind, loops) in found.items():
        step = _with_known_keys(written, kind) if definition.entity_type else written
        uses = _references(step, kind)
        named = {name for used in uses for name in used.steps}
        if kind.upstream:
            named.update(step.depends_on)
        needs = {name: depth[name] for name in sorted(named) if name in depth}
        reads_input = kind.reads_input or any(used.roots & FROM_INPUT for used in uses)
        secrets = frozenset[str]().union(*(used.secrets for used in uses if kind.secrets))
        steps[step_id] = Prepared(step, kind, loops, needs, reads_input, secrets)
    return Version(definition, steps)


def _with_known_keys(step: Step, kind: StepKind) -> Step:
    """The step of a batch without what is kept for somebody else."""
    return step.model_copy(update={"config": known(step.config, kind.config)})


def _collect(
    steps: Sequence[Step],
    loops: tuple[str, ...],
    catalog: Catalog,
    found: dict[str, tuple[Step, StepKind, tuple[str, ...]]],
) -> None:
    for step in steps:
        kind = catalog[step.type]
        found[step.id] = (step, kind, loops)
        _collect(body_of(step, kind), (*loops, step.id), catalog, found)


def _references(step: Step, kind: StepKind) -> list[References]:
    templates, expressions = split(step, kind)
    sources = [*expressions.values(), *([step.when] if step.when is not None else [])]
    return [references(templates), *map(expression_references, sources)]


def split(step: Step, kind: StepKind) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """The parts of a configuration that are templates, and those that are expressions."""
    templates: dict[str, JsonValue] = {}
    expressions: dict[str, str] = {}
    for key, value in step.config.items():
        if key in kind.expressions and isinstance(value, str):
            expressions[key] = value
        elif key != kind.body:
            templates[key] = value
    return templates, expressions
