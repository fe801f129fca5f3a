"""What the interpreter needs of a definition: order, policies and lanes, and no configuration.

A plan travels in Temporal's history, so it stays small and holds nothing of the user's but ids.
"""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, JsonValue

from engine.catalog import Catalog, StepKind
from engine.definition import Definition, OnError, Retry, Step


class PlannedStep(BaseModel):
    """One step, ready to be interpreted.

    Attributes:
        depends_on: ids of the same scope.
        gates: conditions that let this step through or exclude it.
        local: begins as a local activity.
        decides: only decides, so that it is always local and never handed over.
        timeout: seconds for one attempt.
        retry: None when one attempt is all there is.
        once: the effect may not be repeated when its outcome is unknown.
        whole: a batch carries it out one time, after all lanes; elsewhere it says nothing.
        body: the steps of a loop; empty for every other step.
    """

    id: str
    type: str
    depends_on: list[str] = []
    gates: list[str] = []
    enabled: bool = True
    local: bool = False
    decides: bool = False
    timeout: float = 300
    retry: Retry | None = None
    on_error: OnError = "fail"
    fallback: str | None = None
    catch: str | None = None
    once: bool = False
    whole: bool = False
    body: list["PlannedStep"] = []

    @property
    def attempts(self) -> int:
        """How many times the step may fail by itself before it has failed for good."""
        return self.retry.max_attempts if self.retry else 1

    @property
    def targets(self) -> list[str]:
        """Steps that run only because this one failed."""
        return [target for target in (self.catch, self.fallback) if target]

    @property
    def awaits(self) -> list[str]:
        """Steps that have to be over before this one can start."""
        return [*self.depends_on, *self.gates]


class Plan(BaseModel):
    """A definition, compiled."""

    steps: list[PlannedStep]

    def walk(self) -> Iterator[tuple[PlannedStep, tuple[str, ...]]]:
        """Every step with the ids of the loops around it, in definition order."""
        yield from _walk(self.steps, ())

    def find(self, step_id: str) -> PlannedStep | None:
        """The step of that id, wherever it is nested."""
        return next((step for step, _ in self.walk() if step.id == step_id), None)


def _walk(
    steps: Sequence[PlannedStep], loops: tuple[str, ...]
) -> Iterator[tuple[PlannedStep, tuple[str, ...]]]:
    for step in steps:
        yield step, loops
        yield from _walk(step.body, (*loops, step.id))


def body_of(step: Step, kind: StepKind | None) -> list[Step]:
    """The nested steps of a loop; validation has made sure that they parse."""
    if kind is None or kind.body is None:
        return []
    raw = step.config.get(kind.body)
    return [Step.model_validate(nested) for nested in raw] if isinstance(raw, list) else []


def branch_targets(step: Step, kind: StepKind | None) -> list[str]:
    """Ids that the step lets through or excludes, in the order written."""
    found: list[str] = []
    for key in kind.targets if kind else ():
        named: JsonValue = step.config.get(key)
        if isinstance(named, list):
            found += [target for target in named if isinstance(target, str)]
    return found


def compile_plan(definition: Definition, catalog: Catalog) -> Plan:
    """Compile a definition that `engine.validation` has found nothing wrong with."""
    return Plan(steps=_compile(definition.steps, catalog))


def _compile(steps: Sequence[Step], catalog: Catalog) -> list[PlannedStep]:
    gates: dict[str, list[str]] = {}
    for step in steps:
        for target in branch_targets(step, catalog.get(step.type)):
            gates.setdefault(target, []).append(step.id)
    planned = []
    for step in steps:
        kind = catalog[step.type]
        once = step.effect == "once"
        decides = kind.lane == "decides"
        short = kind.lane == "short" and step.local is not False and not once
        retry = step.retry or (Retry() if step.on_error == "retry" else None)
        planned.append(
            PlannedStep(
                id=step.id,
                type=step.type,
                depends_on=step.depends_on,
                gates=gates.get(step.id, []),
                enabled=step.enabled,
                local=decides or short,
                decides=decides,
                timeout=step.timeout or kind.timeout,
                retry=retry,
                on_error=step.on_error,
                fallback=step.fallback_step if step.on_error == "fallback" else None,
                catch=step.catch_step,
                once=once,
                whole=kind.whole is not None and step.config.get(kind.whole) is True,
                body=_compile(body_of(step, kind), catalog),
            )
        )
    return planned
