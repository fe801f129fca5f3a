"""Validation of definitions for entities: what each step of a batch may be."""

from typing import Any

import pytest
from pydantic import JsonValue

from activities.definitions import prepare
from activities.registry import catalog
from engine.definition import Definition
from engine.known_keys import known
from engine.validation import check
from tests.unit.language import CATALOG, Http, http, messages

TYPE = "f" * 32


def step(step_id: str, kind: str = "transform", **more: Any) -> dict[str, Any]:
    config = more.pop("config", {"output": 1} if kind == "transform" else {})
    return {"id": step_id, "type": kind, "config": config, **more}


def found(*steps: Any, **more: Any) -> list[tuple[str | None, str]]:
    """Step and path of everything that is wrong, with the real step types."""
    raw: JsonValue = {"name": "w", "steps": list(steps), "entity_type": TYPE, **more}
    return [(problem.step, problem.path) for problem in check(raw, catalog()).problems]


def test_a_batch_of_what_works_per_entity_is_valid() -> None:
    fields = {"output": "{{ entity.fields.title + entity.id + run.id + string(input.n) }}"}
    assert (
        found(
            step("first", config=fields, when="entity.fields.stage == 'draft'"),
            step("then", "http_request", config={"url": "https://x.example/{{ entity.id }}"}),
            step(
                "gate",
                "condition",
                config={"expression": "steps.first.output == ''"},
                depends_on=["first"],
            ),
            input_schema={"type": "object"},
        )
        == []
    )


@pytest.mark.parametrize(
    "kind",
    ["activity", "launch_assessment", "loop", "run_workflow", "send_questionnaire", "wait"],
)
def test_what_cannot_run_for_each_entity_is_told(kind: str) -> None:
    raw: JsonValue = {"name": "w", "steps": [step("s", kind)], "entity_type": TYPE}
    told = [problem.message for problem in check(raw, catalog()).problems if problem.step == "s"]
    assert f"Step 's': a step of type '{kind}' cannot run for each entity of a batch" in told
    assert ("s", "steps.0.type") in found(step("s", kind))


def test_the_types_that_cannot_are_those_above() -> None:
    without = {name for name, kind in catalog().items() if not kind.per_entity}
    assert without == {
        "activity",
        "launch_assessment",
        "loop",
        "run_workflow",
        "send_questionnaire",
        "wait",
    }


def test_everything_is_told_at_once() -> None:
    assert found(
        step("a", effect="once"),
        step("b", on_error="pause", depends_on=["gone"]),
        step("c", when="event.name == 'X'"),
        step("d", config={"output": "{{ event.data }}"}),
        step("e", "validate"),
        output="{{ steps.a.output }}",
    ) == [
        ("e", "steps.4.config.rules"),
        ("b", "steps.1.depends_on"),
        ("c", "steps.2.when"),
        ("d", "steps.3.config.output"),
        ("a", "steps.0.effect"),
        ("b", "steps.1.on_error"),
        (None, "output"),
    ]


def test_none_of_it_is_forbidden_elsewhere() -> None:
    steps = (
        step("a", effect="once", on_error="pause"),
        step("b", config={"output": "{{ event.data }}"}),
    )
    raw: JsonValue = {"name": "w", "steps": [*steps], "output": "{{ steps.b.output }}"}
    assert check(raw, catalog()).problems == []


def telling(step_id: str, message: str, **more: Any) -> dict[str, Any]:
    """A step that runs once for all entities."""
    config = {"channel": "email", "to": "ops@example.com", "once": True, "message": message}
    return step(step_id, "notify", config=config, **more)


def test_what_runs_once_for_all_sees_counters_and_no_entity() -> None:
    fine = telling("tell", "{{ batch.failed }} of {{ batch.total }}", depends_on=["a"])
    again = telling("again", "{{ steps.tell.output }}", depends_on=["tell"])
    assert found(step("a"), fine, again, step("b", depends_on=["again"])) == []
    assert found(
        step("a", config={"output": "{{ batch.total }}"}),
        telling("x", "{{ entity.id }}"),
        telling("y", "{{ steps.a.status }}"),
        step("b", depends_on=["x"], when="steps.x.status == 'completed'"),
    ) == [
        ("a", "steps.0.config.output"),
        ("x", "steps.1.config.message"),
        ("y", "steps.2.config.message"),
        ("b", "steps.3.when"),
    ]


def test_what_runs_once_for_all_hangs_on_no_entity() -> None:
    assert found(
        step("a", on_error="fallback", fallback_step="tell"),
        step("b", catch_step="tell"),
        step("c", "condition", config={"expression": "true", "then": ["tell"]}),
        telling("tell", "x"),
        telling("other", "x", catch_step="a"),
    ) == [
        ("a", "steps.0.fallback_step"),
        ("b", "steps.1.catch_step"),
        ("c", "steps.2.config.then"),
        ("other", "steps.4.catch_step"),
    ]


def test_there_are_counters_in_a_batch_alone() -> None:
    told = messages(http("a", config={"body": "{{ batch.total }}"}), output="{{ batch.total }}")
    assert told == [
        "Step 'a' uses 'batch', which exists only where there is an entity_type",
        "The workflow's output uses 'batch', which exists only where there is an entity_type",
    ]


def test_unknown_keys_of_a_config_are_no_error_in_a_batch_alone() -> None:
    odd = {"url": "https://x.example", "colour": "{{ nonsense", "layout": {"x": 1}}
    raw = {"id": "s", "type": "http_request", "config": odd}
    assert messages(raw, entity_type=TYPE) == []
    assert "Step 's': unknown key 'colour' in config" in messages(raw)
    # Only there: the keys of a step are still those of the language.
    assert messages({**raw, "colour": 1}, entity_type=TYPE) == ["Step 's': unknown key 'colour'"]
    definition = check({"name": "w", "steps": [raw], "entity_type": TYPE}, CATALOG).definition
    assert definition is not None
    assert definition.steps[0].config == odd


def test_what_carries_out_a_step_of_a_batch_sees_known_keys_alone() -> None:
    rules: list[JsonValue] = [
        {"field": "title", "rule": "required", "ticket": "T-1"},
        {"field": "{{ entity.fields.which }}", "rule": "min", "value": 3},
    ]
    config: dict[str, JsonValue] = {"rules": rules, "onFail": "skip", "note": "{{ steps.x.output"}
    raw = step("s", "validate", config=config)
    assert found(raw) == []
    definition = Definition(name="w", steps=[raw], entity_type=TYPE)  # type: ignore[list-item]
    prepared = prepare(definition, catalog()).steps["s"]
    assert prepared.step.config == {
        "rules": [{"field": "title", "rule": "required"}, rules[1]],
        "onFail": "skip",
    }
    assert definition.steps[0].config == config


def test_known_keeps_what_is_known_whatever_its_value() -> None:
    config: dict[str, JsonValue] = {"url": 3, "headers": "{{ input.h }}", "other": None}
    assert known(config, Http) == {"url": 3, "headers": "{{ input.h }}"}


@pytest.mark.parametrize("steps", [None, [], [None], [{"type": 3, "config": {}}], [{"config": 1}]])
def test_a_broken_document_is_told_of_and_not_tripped_over(steps: JsonValue) -> None:
    raw: JsonValue = {"name": "w", "steps": steps, "entity_type": 7}
    paths = [problem.path for problem in check(raw, CATALOG).problems]
    assert "entity_type" in paths
    assert any(path.startswith("steps") for path in paths if path)
