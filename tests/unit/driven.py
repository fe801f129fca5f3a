"""A run that a test drives by hand, one answer at a time."""

from typing import Any

from engine.definition import Definition
from engine.facts import Facts, Failure, StepFact
from engine.lifecycle import StepStatus
from engine.moves import Abandoned, Advance, LoopOver, Skipped, Suspended, Verdict, Woken
from engine.outcomes import Done, Outcome
from engine.plan import compile_plan
from engine.progress import advance
from engine.settle import fail, settle
from tests.unit.language import CATALOG


class Run:
    """A run that the test drives by hand; moves read as `start a`, `skip b`, `start c@0.1`."""

    def __init__(self, *steps: Any) -> None:
        definition = Definition.model_validate({"name": "w", "steps": steps})
        self.plan = compile_plan(definition, CATALOG)
        self.facts = Facts()
        self.now = 0.0
        self.last = Advance()

    def go(self, *, draining: bool = False) -> list[str]:
        """Everything that happens now."""
        said: list[str] = []
        while True:
            self.last = advance(self.plan, self.facts, self.now, draining=draining)
            if not self.last.moves:
                return said
            for move in self.last.moves:
                verb = {
                    Skipped: "skip",
                    Woken: "wake",
                    LoopOver: "over",
                    Abandoned: "abandon",
                    Suspended: "suspend",
                }.get(type(move), "start")
                place = ".".join(map(str, move.iteration))
                said.append(f"{verb} {move.step.id}{place and '@' + place}")
                if isinstance(move, Woken):
                    settle(move.fact, Done())

    def fact(self, place: str) -> StepFact:
        step_id, _, indices = place.partition("@")
        loops = next(around for step, around in self.plan.walk() if step.id == step_id)
        scope = self.facts.scope(loops, tuple(int(index) for index in indices.split(".") if index))
        assert scope is not None
        return scope[step_id]

    def done(self, place: str, outcome: Outcome | None = None) -> list[str]:
        """The step answers."""
        assert self.fact(place).status is StepStatus.RUNNING
        settle(self.fact(place), outcome or Done())
        return self.go()

    def fails(self, place: str, *, retryable: bool = True, code: str = "bad") -> list[str]:
        """The step's attempt fails."""
        assert self.fact(place).status is StepStatus.RUNNING
        step = self.plan.find(place.partition("@")[0])
        assert step is not None
        fail(
            step, self.fact(place), Failure(code=code, message=code, retryable=retryable), self.now
        )
        return self.go()

    @property
    def verdict(self) -> Verdict | None:
        return self.last.verdict

    def statuses(self) -> str:
        return " ".join(f"{step}:{fact.status}" for step, fact in sorted(self.facts.steps.items()))
