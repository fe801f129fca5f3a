"""`validate`: what it looks at, which `publish` does too, and what becomes of the step."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from pydantic import JsonValue

from activities.definitions import Definitions
from activities.registry import catalog
from activities.scopes import Scopes
from engine.call import StepCall
from engine.errors import StepError
from engine.outcomes import Done, Skip
from engine.validation import check
from store import runs, steps
from store.database import Database, Tx
from tests.steps.stepping import Bench, bench
from tests.store.world import World, begin

TITLE: dict[str, JsonValue] = {"field": "title", "rule": "required"}
VALID = Done(output={"valid": True, "errors": []})


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    async with bench() as opened:
        yield opened


async def refused(on: Bench, config: dict[str, Any], **scope: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await on.run("validate", config, scope=scope)
    assert caught.value.retryable is False
    assert "'step'" in caught.value.message
    return caught.value


async def test_what_is_valid_completes(on: Bench) -> None:
    for on_fail in ("fail", "skip", "warn"):
        config = {"rules": [TITLE], "value": {"title": "x"}, "onFail": on_fail}
        assert await on.run("validate", config) == VALID


async def test_what_is_not_valid_fails_is_skipped_or_says_so(on: Bench) -> None:
    rules = [TITLE, {"field": "n", "rule": "max", "value": 3, "message": "Too many."}]
    config = {"rules": rules, "value": {"n": 4}}
    error = await refused(on, config)
    assert error.stable_code == "validation_failed"
    assert error.message == "Step 'step' found it not valid: 'title' is required; Too many."
    skipped = await on.run("validate", config | {"onFail": "skip"})
    assert skipped == Skip(reason="Not valid: 'title' is required; Too many.")
    assert await on.run("validate", config | {"onFail": "warn"}) == Done(
        output={
            "valid": False,
            "errors": [
                {"field": "title", "rule": "required", "message": "'title' is required"},
                {"field": "n", "rule": "max", "message": "Too many."},
            ],
        }
    )


async def test_a_message_lists_some_and_an_output_all(on: Bench) -> None:
    rules = [{"field": f"f{n}", "rule": "required"} for n in range(22)]
    error = await refused(on, {"rules": rules, "value": {}})
    assert error.message.endswith("'f19' is required; and 2 more")
    answer = await on.run("validate", {"rules": rules, "value": {}, "onFail": "warn"})
    assert isinstance(answer, Done)
    assert isinstance(answer.output, dict)
    assert isinstance(errors := answer.output["errors"], list)
    assert len(errors) == 22


@pytest.mark.parametrize(
    ("scope", "valid"),
    [
        ({"input": {"title": "x"}, "entity": None}, True),
        ({"input": {"title": ""}, "entity": None}, False),
        ({"input": {"title": "x"}, "entity": {"id": "a", "fields": {}}}, False),
        ({"input": {}, "entity": {"id": "a", "fields": {"title": "x"}}}, True),
    ],
)
async def test_it_looks_at_the_record_or_else_at_the_input(
    on: Bench, scope: dict[str, Any], valid: bool
) -> None:
    answer = await on.run("validate", {"rules": [TITLE], "onFail": "skip"}, scope=scope)
    assert (answer == VALID) is valid


@pytest.mark.parametrize("value", [None, "title", ["title"], 1])
async def test_it_looks_at_objects_only(on: Bench, value: Any) -> None:
    scope = {"input": {"title": "x"}, "entity": None}
    error = await refused(on, {"rules": [TITLE], "value": value, "onFail": "warn"}, **scope)
    assert error.stable_code == "not_an_object"
    assert (await refused(on, {"rules": [TITLE]}, input=value)).stable_code == "not_an_object"


async def test_rules_that_cost_too_much_fail(on: Bench) -> None:
    rules = [{"field": "a", "rule": "pattern", "value": r"\w{100}"}] * 6
    error = await refused(on, {"rules": rules, "value": {"a": "x"}, "onFail": "warn"})
    assert error.stable_code == "rules_too_costly"


def problems(**config: Any) -> list[tuple[str, str]]:
    raw = {"name": "w", "steps": [{"id": "a", "type": "validate", "config": config}]}
    return [(problem.path, problem.message) for problem in check(raw, catalog()).problems]


def test_a_definition_is_told_what_is_no_rule() -> None:
    rules = [
        TITLE,
        {"field": "a", "rule": "pattern", "value": "("},
        {"field": "a", "rule": "min"},
        {"field": "a", "rule": "url", "values": []},
        {"field": "a", "rule": "minLength", "value": "{{ input.least }}"},
        {"field": "a", "rule": "oneOf", "value": ["{{ input.one }}"]},
    ]
    (pattern, bound, unknown) = problems(rules=rules)
    assert pattern[0] == "steps.0.config.rules.1.value"
    assert "cannot read the pattern" in pattern[1]
    assert bound[0] == "steps.0.config.rules.2"
    assert "'min' takes a number or a text" in bound[1]
    assert unknown[0] == "steps.0.config.rules.3.values"
    assert "unknown key 'values'" in unknown[1]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"rules": []},
        {"rules": [TITLE] * 201},
        {"rules": [TITLE], "onFail": "stop"},
        {"rules": [TITLE], "on_fail": "skip"},
    ],
)
def test_a_bad_configuration_is_refused(config: dict[str, Any]) -> None:
    assert problems(**config)


@pytest.mark.parametrize(
    ("name", "config"),
    [("validate", {"rules": [TITLE]}), ("publish", {"target": {"url": "https://a.example"}})],
)
async def test_the_input_is_there_although_no_text_names_it(
    sqlite: Database, name: str, config: JsonValue
) -> None:
    step: JsonValue = {"id": "a", "type": name, "config": config}

    def start(tx: Tx) -> str:
        world = World.make(tx).with_steps(tx, step)
        run = runs.accept(tx, world.new_run({"title": "x"}))
        begin(tx, run.id)
        return run.id

    run_id = await sqlite.write(start)
    scopes = Scopes(sqlite)
    pinned = await scopes.version_of(run_id)
    assert pinned is not None
    version = await Definitions(sqlite, catalog()).get(*pinned)
    facts = await sqlite.read(partial(steps.run_facts, run_id=run_id))
    assert facts is not None
    call = StepCall(run=run_id, step="a")
    scope = await scopes.build(call, facts, version.steps["a"], {})
    assert (scope["input"], scope["entity"]) == ({"title": "x"}, None)
