"""A small catalog of step types and short ways to write steps of them."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from engine.catalog import Catalog, StepKind
from engine.validation import check


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Http(_Strict):
    url: str = Field(pattern="^https?://")
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}
    tries: int = Field(default=1, ge=1)
    body: JsonValue = None


class Condition(_Strict):
    expression: str
    then: list[str] = []
    otherwise: list[str] = Field(default=[], alias="else")


class Loop(_Strict):
    items: list[JsonValue] | str
    steps: list[JsonValue]


class Wait(_Strict):
    duration: float | None = None
    condition: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> "Wait":
        if (self.duration is None) == (self.condition is None):
            raise ValueError("Give duration or condition.")
        return self


CATALOG: Catalog = {
    kind.name: kind
    for kind in (
        StepKind("http_request", Http, lane="short", secrets=True),
        StepKind(
            "condition",
            Condition,
            lane="decides",
            expressions=("expression",),
            targets=("then", "else"),
        ),
        StepKind("loop", Loop, lane="decides", expressions=("items",), body="steps"),
        StepKind("wait", Wait, lane="decides", expressions=("condition",), live=True),
    )
}


def http(step_id: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    config = {"url": "https://example.com", **more.pop("config", {})}
    step = {"id": step_id, "type": "http_request", "config": config, **more}
    return {**step, "depends_on": list(depends_on)} if depends_on else step


def condition(
    step_id: str, then: list[str], otherwise: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    config = {"expression": "input.ok", "then": then, "else": list(otherwise)}
    return {"id": step_id, "type": "condition", "config": config, **more}


def loop(step_id: str, *body: Any, **more: Any) -> dict[str, Any]:
    config = {"items": "input.rows", "steps": list(body)}
    return {"id": step_id, "type": "loop", "config": config, **more}


def wait(step_id: str, expression: str) -> dict[str, Any]:
    return {"id": step_id, "type": "wait", "config": {"condition": expression}}


def messages(*steps: Any, **more: Any) -> list[str]:
    checked = check({"name": "w", "steps": list(steps), **more}, CATALOG)
    assert (checked.definition is None) == bool(checked.problems)
    return [problem.message for problem in checked.problems]
