"""The plan: order, policies and lanes, compiled from a definition."""

import pytest
from pydantic import BaseModel

from engine.catalog import StepKind
from engine.definition import Definition, Retry, Step
from engine.plan import Plan, compile_plan
from tests.unit.language import CATALOG, condition, http, loop, wait


def compiled(*steps: object) -> Plan:
    definition = Definition.model_validate({"name": "w", "steps": steps})
    return compile_plan(definition, CATALOG)


def test_gates_and_what_is_awaited() -> None:
    plan = compiled(condition("c", ["a"], ["b"]), http("a", "x"), http("b"), http("x"))
    a, b = plan.steps[1:3]
    assert (a.gates, a.awaits) == (["c"], ["x", "c"])
    assert (b.gates, b.awaits) == (["c"], ["c"])


def test_bodies_are_compiled_and_found() -> None:
    plan = compiled(http("a"), loop("l", http("b"), loop("m", http("c", "d"), http("d"))))
    assert [(step.id, around) for step, around in plan.walk()] == [
        ("a", ()),
        ("l", ()),
        ("b", ("l",)),
        ("m", ("l",)),
        ("c", ("l", "m")),
        ("d", ("l", "m")),
    ]
    found = plan.find("c")
    assert found is not None
    assert found.depends_on == ["d"]
    assert plan.find("e") is None


@pytest.mark.parametrize(
    ("step", "local", "decides"),
    [
        (http("a"), True, False),
        (http("a", local=False), False, False),
        (http("a", effect="once"), False, False),
        (wait("a", "input.ok"), True, True),
        ({**wait("a", "input.ok"), "local": False}, True, True),
    ],
)
def test_lanes(step: object, local: bool, decides: bool) -> None:
    (planned,) = compiled(step).steps
    assert (planned.local, planned.decides) == (local, decides)


@pytest.mark.parametrize(("once", "whole"), [(True, True), (False, False), (None, False)])
def test_a_step_for_the_whole_batch_says_so_by_a_key(once: bool | None, whole: bool) -> None:
    class Config(BaseModel):
        once: bool = False

    kinds = {"tell": StepKind("tell", Config, whole="once"), "plain": StepKind("plain", Config)}
    config = {} if once is None else {"once": once}
    steps = [Step(id=name, type=name, config=config) for name in kinds]
    plan = compile_plan(Definition(name="w", steps=steps), kinds)
    assert [step.whole for step in plan.steps] == [whole, False]


def test_timeouts_come_from_the_step_or_its_type() -> None:
    assert [step.timeout for step in compiled(http("a"), http("b", timeout=7)).steps] == [300, 7]


@pytest.mark.parametrize(
    ("step", "attempts"),
    [
        (http("a"), 1),
        (http("a", on_error="retry"), 3),
        (http("a", retry={"max_attempts": 7}), 7),
        (http("a", on_error="retry", retry={"max_attempts": 2}), 2),
    ],
)
def test_attempts(step: object, attempts: int) -> None:
    (planned,) = compiled(step).steps
    assert planned.attempts == attempts


def test_a_fallback_counts_only_where_on_error_asks_for_it() -> None:
    plan = compiled(
        http("a", fallback_step="c", catch_step="b"),
        http("d", on_error="fallback", fallback_step="c"),
        http("b"),
        http("c"),
    )
    assert [step.targets for step in plan.steps] == [["b"], ["c"], [], []]


@pytest.mark.parametrize(
    ("retry", "pauses"),
    [
        (Retry(delay=5), [5, 5, 5]),
        (Retry(delay=5, backoff="linear"), [5, 10, 15]),
        (Retry(delay=5, backoff="exponential"), [5, 10, 20]),
        (Retry(delay=5, backoff="exponential", max_delay=12), [5, 10, 12]),
        (Retry(delay=100, max_delay=60), [60, 60, 60]),
    ],
)
def test_backoffs(retry: Retry, pauses: list[float]) -> None:
    assert [retry.pause_after(failures) for failures in (1, 2, 3)] == pauses
    assert retry.pause_after(100_000) <= retry.max_delay


def test_a_plan_survives_json_and_holds_nothing_of_the_configuration() -> None:
    plan = compiled(loop("l", http("a", config={"body": "private"})))
    text = plan.model_dump_json(exclude_defaults=True)
    assert Plan.model_validate_json(text) == plan
    assert "private" not in text
    assert "example.com" not in text
