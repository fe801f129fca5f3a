"""Validation: what is wrong with the document, with each step by itself, and with all at once."""

import json
import re
from pathlib import Path

import pytest
from pydantic import JsonValue

from activities.registry import catalog
from engine.definition import MAX_LOOP_DEPTH, MAX_STEPS, Step
from engine.plan import compile_plan
from engine.validation import check
from tests.unit.language import CATALOG, condition, http, loop, messages, wait


def test_a_valid_definition_is_read_and_can_be_compiled() -> None:
    raw = {
        "name": "daily",
        "steps": [
            http("fetch", config={"body": "{{ input.query }}"}),
            condition("big", ["each"], ["small"], depends_on=["fetch"]),
            loop("each", http("push", config={"body": "{{ item }} {{ steps.fetch.output }}"})),
            http("small", config={"body": "{{ steps.fetch.output }}"}),
            wait("quiet", "steps.small.status == 'completed' && steps.each.output == null"),
            http("rescue", on_error="fallback", fallback_step="plan_b", catch_step="tell"),
            http("plan_b", config={"body": "{{ steps.rescue.status }}"}),
            http("tell", config={"tries": "{{ input.tries }}", "url": "{{ secrets.HOOK }}"}),
        ],
        "output": {"all": "{{ steps.each.output }}", "small": "{{ steps.small.output }}"},
    }
    checked = check(raw, CATALOG)
    assert checked.problems == []
    assert checked.definition is not None
    plan = compile_plan(checked.definition, CATALOG)
    assert [step.id for step, _ in plan.walk()][2:4] == ["each", "push"]


def test_the_documented_examples_are_valid() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "definition.md"
    examples = re.findall(r"^```json\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert [check(json.loads(one), catalog()).problems for one in examples] == [[], []]


def test_the_documented_keys_are_those_of_a_step() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "definition.md"
    table = page.read_text().partition("## A step")[2].partition("##")[0]
    keys = {
        key
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    }
    assert keys == set(Step.model_fields)


# --- shape --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "The definition must be an object."),
        ([], "The definition must be an object."),
        ({"name": "w"}, "The workflow has no steps."),
        ({"name": "w", "steps": []}, "The workflow has no steps."),
        ({"name": "w", "steps": {}}, "'steps' must be a list of steps."),
        ({"steps": [http("a")]}, "The workflow: 'name' is missing"),
        (
            {"name": "", "steps": [http("a")]},
            "The workflow: name: needs at least 1 character",
        ),
        ({"name": "w", "steps": [http("a")], "x": 1}, "The workflow: unknown key 'x'"),
        ({"name": "w", "steps": [7]}, "Step #1 must be an object with an id and a type"),
    ],
)
def test_the_document_itself(raw: JsonValue, expected: str) -> None:
    assert [problem.message for problem in check(raw, CATALOG).problems] == [expected]


@pytest.mark.parametrize(
    ("step", "expected", "path"),
    [
        ({"type": "wait", "config": {"duration": 1}}, "Step #1: 'id' is missing", "id"),
        (
            http("Bad-Id"),
            "Step 'Bad-Id': an id is 1 to 64 lower-case letters, digits and underscores",
            "id",
        ),
        ({"id": "a"}, "Step 'a': 'type' is missing", "type"),
        ({"id": "a", "type": 3}, "Step 'a': type: must be a text", "type"),
        (http("a", depend_on=["b"]), "Step 'a': unknown key 'depend_on'", "depend_on"),
        (http("a", timeout=0), "Step 'a': timeout: must be greater than 0", "timeout"),
        (
            http("a", retry={"max_attempts": 0}),
            "Step 'a': retry.max_attempts: must be at least 1",
            "retry.max_attempts",
        ),
        (http("a", retry={"tries": 1}), "Step 'a': unknown key 'tries' in retry", "retry.tries"),
        (http("a", timeout="5"), "Step 'a': timeout: must be a number", "timeout"),
        (http("a", timeout=True), "Step 'a': timeout: must be a number", "timeout"),
        (http("a", timeout="{{ 5 }}"), "Step 'a': timeout: must be a number", "timeout"),
        (http("a", enabled="no"), "Step 'a': enabled: must be true or false", "enabled"),
        (http("a", enabled=1), "Step 'a': enabled: must be true or false", "enabled"),
        (
            http("a", retry={"max_attempts": "3"}),
            "Step 'a': retry.max_attempts: must be a whole number",
            "retry.max_attempts",
        ),
        (
            http("a", retry={"delay": True}),
            "Step 'a': retry.delay: must be a number",
            "retry.delay",
        ),
        (
            http("a", on_error="explode"),
            "Step 'a': on_error: must be 'fail', 'continue', 'retry', 'fallback' or 'pause'",
            "on_error",
        ),
        (http("a", config={"ulr": 1}), "Step 'a': unknown key 'ulr' in config", "config.ulr"),
        (
            http("a", config={"ulr": "{{ 1 }}"}),
            "Step 'a': unknown key 'ulr' in config",
            "config.ulr",
        ),
        ({"id": "a", "type": "http_request"}, "Step 'a': 'url' is missing in config", "config.url"),
        (
            {"id": "a", "type": "http_request", "config": []},
            "Step 'a': config: must be an object",
            "config",
        ),
        (
            http("a", config={"method": "PUSH"}),
            "Step 'a': config.method: must be 'GET' or 'POST'",
            "config.method",
        ),
        (
            http("a", config={"headers": {"x": 1}}),
            "Step 'a': config.headers.x: must be a text",
            "config.headers.x",
        ),
        (
            {"id": "a", "type": "wait", "config": {}},
            "Step 'a': config: Give duration or condition.",
            "config",
        ),
        (
            {"id": "a", "type": "loop", "config": {"items": []}},
            "Step 'a': 'steps' in config must be a list of steps",
            "config.steps",
        ),
        (
            {"id": "a", "type": "loop", "config": {"items": [], "steps": "{{ input.x }}"}},
            "Step 'a': 'steps' in config must be a list of steps",
            "config.steps",
        ),
        (loop("a"), "Step 'a': 'steps' in config has no steps", "config.steps"),
    ],
)
def test_one_step_by_itself(step: JsonValue, expected: str, path: str) -> None:
    (problem,) = check({"name": "w", "steps": [step]}, CATALOG).problems
    assert problem.message.lower() == expected.lower()
    assert problem.path == f"steps.0.{path}"


def test_an_unknown_type_names_the_nearest_and_all() -> None:
    (message,) = messages({"id": "a", "type": "http_reqest"})
    assert message == (
        "Step 'a': unknown type 'http_reqest'; known types: condition, http_request, loop, wait; "
        "did you mean 'http_request'?"
    )


def test_what_a_placeholder_will_hold_is_not_judged() -> None:
    assert messages(http("a", config={"url": "{{ input.url }}", "tries": "{{ input.n }}"})) == []


def test_ids_are_unique_in_the_whole_definition() -> None:
    assert messages(http("a"), loop("l", http("a"), http("b")), http("b")) == [
        "Step 'a': the id is used by 2 steps",
        "Step 'b': the id is used by 2 steps",
    ]


def test_bodies_are_checked_with_their_path() -> None:
    raw = {"name": "w", "steps": [http("a"), loop("l", loop("m", http("b", config={"x": 1})))]}
    (problem,) = check(raw, CATALOG).problems
    assert problem.step == "b"
    assert problem.path == "steps.1.config.steps.0.config.steps.0.config.x"


def test_loops_may_be_nested_so_deep_and_no_deeper() -> None:
    nested = http("inner")
    for level in range(MAX_LOOP_DEPTH):
        nested = loop(f"l{level}", nested)
    assert messages(nested) == []
    assert messages(loop("outer", nested)) == [
        f"Step 'l0': loops may be nested {MAX_LOOP_DEPTH} deep, not deeper"
    ]


def test_the_number_of_steps_is_bounded_bodies_included() -> None:
    many = [http(f"s{number}") for number in range(MAX_STEPS - 1)]
    assert messages(loop("l", *many)) == []
    (message,) = messages(loop("l", *many), http("one_more"))
    assert "at most 500 steps" in message


def test_all_errors_are_told_at_once() -> None:
    found = messages(
        http("a", "gone", config={"ulr": 1}),
        http("b", "c"),
        http("c", "b", timeout=-1),
        {"id": "d", "type": "teleport"},
        http("e", config={"body": "{{ steps.nope.output }} {{ 1 + }}"}),
        http("f", config={"body": "{{ steps.nope.output }}"}),
    )
    expected = [
        "unknown key 'ulr'",
        "timeout",
        "unknown type 'teleport'",
        "Step 'a' depends on 'gone' which doesn't exist",
        "Cycle detected: b → c → b",
        "Step 'e': ",
        "Step 'f' refers to 'steps.nope' which doesn't exist",
    ]
    assert len(found) == len(expected)
    assert all(part in message for part, message in zip(expected, found, strict=True)), found
