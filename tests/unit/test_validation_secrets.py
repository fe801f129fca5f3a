"""Secrets are refused where they would be kept or compared; the table of types says where."""

import pytest

from activities.registry import catalog
from engine.validation import check
from tests.unit.language import CATALOG, condition, http, loop, messages, wait

TAIL = ", where it would not stay secret; secrets are for the config of http_request"


def test_they_are_for_the_config_of_what_reaches_outside() -> None:
    config = {
        "url": "https://{{ secrets.HOST }}/",
        "headers": {"authorization": "{{ 'Bearer ' + secrets.TOKEN }}"},
        "body": ["{{ secrets['OTHER'] }}"],
    }
    assert messages(http("a", config=config)) == []
    assert messages(loop("l", http("a", config=config))) == []


@pytest.mark.parametrize(
    ("step", "where"),
    [
        (http("a", when="secrets.A == 'x'"), "when"),
        (condition("a", []) | {"config": {"expression": "secrets.A == 'x'"}},
         "config.expression of type 'condition'"),
        (wait("a", "secrets.A == 'x'"), "config.condition of type 'wait'"),
        ({"id": "a", "type": "wait", "config": {"duration": "{{ size(secrets.A) }}"}},
         "config.duration of type 'wait'"),
        ({"id": "a", "type": "loop", "config": {"items": "[secrets.A]", "steps": [http("b")]}},
         "config.items of type 'loop'"),
        ({"id": "a", "type": "loop", "config": {"items": ["{{ secrets.A }}"],
                                               "steps": [http("b")]}},
         "config.items of type 'loop'"),
    ],
)  # fmt: skip
def test_they_are_refused_elsewhere(step: dict[str, object], where: str) -> None:
    assert messages(step) == [f"Step 'a' uses 'secrets.A' in {where}{TAIL}"]


def test_they_are_refused_in_the_output_of_a_run() -> None:
    found = messages(http("a"), output={"x": "{{ secrets.A }}"})
    assert found == [f"The workflow's output uses secrets{TAIL}"]


def test_the_problem_names_the_place_and_every_name() -> None:
    raw = {"name": "w", "steps": [http("a", when="secrets.B == secrets.A")]}
    (problem,) = check(raw, CATALOG).problems
    assert problem.path == "steps.0.when"
    assert "'secrets.A', 'secrets.B'" in problem.message


def test_types_that_decide_never_take_any() -> None:
    """What they are given ends up in rows, or decides what can be watched."""
    assert [
        kind.name for kind in catalog().values() if kind.secrets and kind.lane == "decides"
    ] == []
    assert {"http_request", "script", "webhook"} <= {
        kind.name for kind in catalog().values() if kind.secrets
    }
