"""`condition`, `loop`, `transform` and `wait`: those that answer from their configuration alone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from activities.registry import step_types
from engine.errors import StepError
from engine.outcomes import Await, Branch, Done, Each, Sleep
from tests.steps.stepping import Bench, bench


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    async with bench() as opened:
        yield opened


HOLDS: dict[str, Any] = {"field": "a", "operator": "notEmpty"}
TRIM: dict[str, Any] = {"field": "a", "transform": "trim"}


async def failure(on: Bench, name: str, config: dict[str, Any], **context: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await on.run(name, config, **context)
    assert caught.value.retryable is False
    assert "'step'" in caught.value.message or caught.value.stable_code == "expression_failed"
    return caught.value


# --- condition ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "untaken"), [(2, ["c"]), (1, ["a", "b"])])
async def test_condition_excludes_the_other_branch(on: Bench, n: int, untaken: list[str]) -> None:
    config = {"expression": "input.n > 1", "then": ["a", "b"], "else": ["c"]}
    answer = await on.run("condition", config, scope={"input": {"n": n}})
    assert answer == Branch(untaken=untaken, output={"result": n > 1})


@pytest.mark.parametrize("expression", ["1", "'true'", "null", "[true]"])
async def test_condition_takes_nothing_for_true(on: Bench, expression: str) -> None:
    assert (await failure(on, "condition", {"expression": expression})).stable_code == (
        "not_a_boolean"
    )


async def test_condition_says_what_is_missing(on: Bench) -> None:
    error = await failure(on, "condition", {"expression": "input.x"}, scope={"input": {}})
    assert error.stable_code == "expression_failed"
    assert "x" in error.message


# --- loop --------------------------------------------------------------------------------------

BODY = [{"id": "a", "type": "transform", "config": {"output": 1}}]


async def test_loop_lists_its_items(on: Bench) -> None:
    config = {"items": "input.rows", "steps": BODY, "concurrency": 4, "on_item_error": "continue"}
    answer = await on.run("loop", config, scope={"input": {"rows": [1, {"a": 2}, None]}})
    assert answer == Each(
        items=[1, {"a": 2}, None], count=3, concurrency=4, on_item_error="continue"
    )


async def test_loop_takes_a_list_as_it_is_and_a_map_by_its_sorted_keys(on: Bench) -> None:
    assert await on.run("loop", {"items": [3, 1], "steps": BODY}) == Each(items=[3, 1], count=2)
    answer = await on.run("loop", {"items": "{'b': 1, 'a': 2, 'c': 3}", "steps": BODY})
    assert isinstance(answer, Each)
    assert answer.items == ["a", "b", "c"]


@pytest.mark.parametrize("items", ["3", "'abc'", "null", "true"])
async def test_loop_refuses_what_is_no_list(on: Bench, items: str) -> None:
    error = await failure(on, "loop", {"items": items, "steps": BODY})
    assert error.stable_code == "not_a_list"


@pytest.mark.parametrize(("count", "fits"), [(3, True), (4, False)])
async def test_loop_counts_before_it_begins(on: Bench, count: int, fits: bool) -> None:
    config = {"items": [*range(count)], "steps": BODY, "max_iterations": 3}
    if fits:
        assert await on.run("loop", config) == Each(items=[0, 1, 2], count=3)
    else:
        error = await failure(on, "loop", config)
        assert error.stable_code == "too_many_items"
        assert "4 items" in error.message


# --- transform ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, 1.5, True, "", "text", [1, [2]], {"a": {"b": None}}])
async def test_transform_answers_what_it_is_given(on: Bench, value: Any) -> None:
    answer = await on.run("transform", {"output": value})
    assert isinstance(answer, Done)
    assert (answer.output, type(answer.output)) == (value, type(value))


# --- wait --------------------------------------------------------------------------------------


async def test_wait_counts_from_when_it_began(on: Bench) -> None:
    answer = await on.run("wait", {"duration": 60}, now=1_030.0, began=1_000.0)
    assert answer == Sleep(wake_at=1_060.0)


@pytest.mark.parametrize(
    ("until", "wake_at"),
    [
        ("1970-01-02T00:00:00Z", 86_400.0),
        ("1970-01-02T00:00:00", 86_400.0),
        ("1970-01-02T02:00:00+02:00", 86_400.0),
        ("1970-01-01T00:00:01Z", 1_000.0),
    ],
)
async def test_wait_until_a_time(on: Bench, until: str, wake_at: float) -> None:
    assert await on.run("wait", {"until": until}) == Sleep(wake_at=wake_at)


async def test_wait_for_a_condition_asks_again_until_its_time_is_over(on: Bench) -> None:
    config = {"condition": "input.ok", "poll_interval": 7, "timeout": 100}
    no, yes = {"input": {"ok": False}}, {"input": {"ok": True}}
    asked = Await(interval=7, until=1_100.0)
    assert await on.run("wait", config, scope=no) == asked
    assert await on.run("wait", config, scope=no, now=1_099.0, until=1_100.0) == asked
    done = await on.run("wait", config, scope=yes, now=1_042.9, until=1_100.0)
    assert done == Done(output={"waited_seconds": 42})
    late = await on.run("wait", config, scope=yes, now=1_200.0, until=1_100.0)
    assert isinstance(late, Done)
    error = await failure(on, "wait", config, scope=no, now=1_100.0, until=1_100.0)
    assert error.stable_code == "wait_timeout"
    assert "100 s" in error.message


async def test_wait_takes_nothing_for_true(on: Bench) -> None:
    assert (await failure(on, "wait", {"condition": "1"})).stable_code == "not_a_boolean"


@pytest.mark.parametrize(
    ("name", "config", "where"),
    [
        ("condition", {}, ""),
        ("condition", {"expression": "true", "field": "a", "operator": "empty"}, ""),
        ("condition", {"field": "a"}, ""),
        ("condition", {"operator": "eq", "value": 1}, ""),
        ("condition", {"field": "a", "operator": "eq"}, ""),
        ("condition", {"field": "a", "operator": "is", "value": 1}, "operator"),
        ("condition", {"field": "a", "operator": "in", "value": 1}, "value"),
        ("condition", {"field": "a", "operator": "gt", "value": [1]}, "value"),
        ("condition", {"field": "a", "operator": "empty", "value": 1}, "value"),
        ("condition", {"expression": "true", "value": 1}, ""),
        ("condition", {"all": []}, "all"),
        ("condition", {"any": [{"field": "a", "operator": "eq"}]}, "any"),
        ("condition", {"all": [HOLDS], "any": [HOLDS]}, ""),
        ("condition", {"all": [{"all": [HOLDS] * 101}, {"any": [HOLDS] * 100}]}, ""),
        ("condition", {**HOLDS, "onFalse": "skip"}, "onFalse"),
        ("condition", {"expression": "true", "onFalse": "stop", "then": ["a"]}, ""),
        ("condition", {"expression": "true", "otherwise": []}, "otherwise"),
        ("loop", {"items": [], "steps": []}, "steps"),
        ("loop", {"items": 3, "steps": BODY}, "items"),
        ("loop", {"items": [], "steps": BODY, "concurrency": 0}, "concurrency"),
        ("loop", {"items": [], "steps": BODY, "max_iterations": 100_001}, "max_iterations"),
        ("transform", {}, ""),
        ("transform", {"output": 1, "transforms": [TRIM]}, ""),
        ("transform", {"transforms": []}, "transforms"),
        ("transform", {"transforms": [{**TRIM, "transform": "reverse"}]}, "transforms"),
        ("transform", {"transforms": [{**TRIM, "to": "a"}]}, "transforms"),
        ("transform", {"transforms": [{"transform": "trim"}]}, "transforms"),
        ("wait", {}, ""),
        ("wait", {"duration": 1, "condition": "true"}, ""),
        ("wait", {"duration": -1}, "duration"),
        ("wait", {"duration": 1e12}, "duration"),
        ("wait", {"duration": "nan"}, "duration"),
        ("wait", {"until": "tomorrow"}, "until"),
        ("wait", {"condition": "true", "poll_interval": 0}, "poll_interval"),
        ("wait", {"event": "a", "duration": 1}, ""),
        ("wait", {"event": ""}, "event"),
        ("wait", {"event": "a b"}, "event"),
        ("wait", {"event": "a", "match": "1 + 1"}, "match"),
        ("wait", {"duration": 1, "match": "true"}, ""),
        ("wait", {"condition": "true", "on_timeout": "continue"}, ""),
        ("wait", {"event": "a", "on_timeout": "skip"}, "on_timeout"),
        ("http_request", {}, "url"),
        ("http_request", {"url": "http://a", "method": "CONNECT"}, "method"),
        ("http_request", {"url": "http://a", "timeout": 0}, "timeout"),
        ("webhook", {"url": "http://a", "method": "GET"}, "method"),
        ("script", {"source": "x"}, "language"),
        ("script", {"source": "x", "language": "perl"}, "language"),
        ("script", {"source": "", "language": "shell"}, "source"),
    ],
)
def test_a_bad_configuration_is_refused(name: str, config: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        step_types()[name].config.model_validate(config)
    assert where in {
        str(error["loc"][0]) if error["loc"] else "" for error in caught.value.errors()
    }
