"""`condition` and `transform` on the fields of a record."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import JsonValue

from activities.registry import catalog
from engine.errors import StepError
from engine.outcomes import Branch, Done, EntityChange, Skip
from engine.validation import check
from tests.steps.stepping import Bench, bench

FIELDS: dict[str, JsonValue] = {
    "title": "  Crème Brûlée & Co.  ",
    "body": "# Hi\n\n*you*",
    "score": 70,
    "date": "2026-05-01",
    "tags": ["New", "Hot"],
    "address": {"city": "Bonn", "lines": ["a", "b"]},
    "a.b": 1,
    "none": None,
    "blank": "",
}


def about(**fields: JsonValue) -> dict[str, JsonValue]:
    return {"input": {"score": 1}, "entity": {"id": "ef", "type": "Page", "fields": {**fields}}}


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    async with bench() as opened:
        yield opened


def problems(name: str, config: dict[str, Any]) -> list[str]:
    raw = {"name": "w", "steps": [{"id": "a", "type": name, "config": config}]}
    return [problem.message for problem in check(raw, catalog()).problems]


# --- condition ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("score", "eq", 70.0, True),
        ("score", "eq", "70", False),
        ("score", "eq", True, False),
        ("gone", "eq", None, True),
        ("gone", "neq", 1, True),
        ("score", "neq", 70, False),
        ("score", "gt", 70, False),
        ("score", "gte", 70, True),
        ("score", "lt", 71, True),
        ("score", "lte", 69, False),
        ("score", "lte", "71", False),
        ("gone", "lt", 1, False),
        ("date", "gt", "2026-04-30T23:00:00Z", True),
        ("title", "contains", "Brûlée", True),
        ("title", "contains", "brûlée", False),
        ("tags", "contains", "Hot", True),
        ("tags", "in", ["Cold", "Hot"], True),
        ("score", "in", [1, 2], False),
        ("address.city", "eq", "Bonn", True),
        ("address.lines.1", "eq", "b", True),
        ("address.lines.9", "eq", "b", False),
        ("a.b", "eq", 1, True),
    ],
)
async def test_a_condition_compares_a_field(
    on: Bench, field: str, operator: str, value: JsonValue, holds: bool
) -> None:
    config = {"field": field, "operator": operator, "value": value}
    answer = await on.run("condition", config, scope=about(**FIELDS))
    assert answer == (
        Done(output={"result": True}) if holds else Skip(reason="The condition does not hold.")
    )


@pytest.mark.parametrize(("field", "empty"), [("gone", True), ("blank", True), ("tags", False)])
async def test_a_condition_knows_what_is_empty(on: Bench, field: str, empty: bool) -> None:
    for operator, holds in (("empty", empty), ("notEmpty", not empty)):
        answer = await on.run(
            "condition", {"field": field, "operator": operator}, scope=about(**FIELDS)
        )
        assert isinstance(answer, Done) is holds


async def test_a_condition_has_groups(on: Bench) -> None:
    low = {"field": "score", "operator": "lt", "value": 50}
    hot = {"field": "tags", "operator": "contains", "value": "Hot"}
    for config, holds in (
        ({"any": [low, hot]}, True),
        ({"all": [low, hot]}, False),
        ({"all": [hot, {"any": [low, {"all": [hot]}]}]}, True),
    ):
        answer = await on.run("condition", config, scope=about(**FIELDS))
        assert isinstance(answer, Done) is holds


async def test_a_condition_looks_at_the_input_where_there_is_no_record(on: Bench) -> None:
    config = {"field": "score", "operator": "gt", "value": 5}
    for entity in ({}, {"entity": None}):
        scope = {"input": {"score": 9}, **entity}
        assert isinstance(await on.run("condition", config, scope=scope), Done)
    with pytest.raises(StepError) as caught:
        await on.run("condition", config, scope={"input": [9]})
    assert (caught.value.stable_code, caught.value.retryable) == ("not_an_object", False)


async def test_what_is_false_stops_fails_or_goes_the_other_way(on: Bench) -> None:
    low: dict[str, Any] = {"field": "score", "operator": "lt", "value": 50}
    scope = about(**FIELDS)
    assert isinstance(await on.run("condition", low | {"onFalse": "stop"}, scope=scope), Skip)
    for test in (low, {"expression": "entity.fields.score < 50"}):
        with pytest.raises(StepError) as caught:
            await on.run("condition", test | {"onFalse": "fail"}, scope=scope)
        assert (caught.value.stable_code, caught.value.retryable) == ("condition_failed", False)
        assert "'step'" in caught.value.message
        ways = test | {"then": ["a"], "else": ["b"]}
        assert await on.run("condition", ways, scope=scope) == Branch(
            untaken=["a"], output={"result": False}
        )


def test_a_group_is_not_nested_without_end() -> None:
    test: dict[str, Any] = {"field": "a", "operator": "empty"}
    for _ in range(10):
        test = {"all": [test]}
    assert problems("condition", test) == []
    assert any("deeper than 10" in text for text in problems("condition", {"all": [test]}))


def test_what_is_compared_may_be_a_template() -> None:
    for config in (
        {"field": "a", "operator": "in", "value": "{{ input.list }}"},
        {"field": "a", "operator": "gt", "value": "{{ input.least }}"},
    ):
        assert problems("condition", config) == []
    (message,) = problems("condition", {"field": "a", "operator": "in", "value": "b"})
    assert "'in' takes a list" in message


# --- transform ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "transform", "made"),
    [
        ("title", "uppercase", "  CRÈME BRÛLÉE & CO.  "),
        ("title", "lowercase", "  crème brûlée & co.  "),
        ("title", "trim", "Crème Brûlée & Co."),
        ("title", "slugify", "creme-brulee-co"),
        ("tags", "uppercase", ["NEW", "HOT"]),
        ("body", "markdown_to_html", "<h1>Hi</h1>\n<p><em>you</em></p>\n"),
    ],
)
async def test_a_field_is_rewritten(on: Bench, field: str, transform: str, made: JsonValue) -> None:
    config = {"transforms": [{"field": field, "transform": transform}]}
    answer = await on.run("transform", config, scope=about(**FIELDS))
    assert answer == Done(
        output={"fields": {field: made}}, entity=EntityChange(fields={field: made})
    )


async def test_later_ones_see_what_earlier_ones_have_made(on: Bench) -> None:
    config = {
        "transforms": [
            {"field": "title", "transform": "trim"},
            {"field": "title", "transform": "slugify", "target": "slug"},
            {"field": "slug", "transform": "uppercase"},
        ]
    }
    fields: dict[str, JsonValue] = {"title": "Crème Brûlée & Co.", "slug": "CREME-BRULEE-CO"}
    answer = await on.run("transform", config, scope=about(**FIELDS))
    assert answer == Done(output={"fields": fields}, entity=EntityChange(fields=fields))


async def test_what_is_not_there_is_left_alone_and_what_stays_the_same_is_no_change(
    on: Bench,
) -> None:
    config = {
        "transforms": [
            {"field": "gone", "transform": "trim"},
            {"field": "none", "transform": "trim", "target": "copy"},
            {"field": "date", "transform": "trim"},
        ]
    }
    answer = await on.run("transform", config, scope=about(**FIELDS))
    assert answer == Done(output={"fields": {"date": "2026-05-01"}}, entity=None)


async def test_the_input_is_rewritten_where_there_is_no_record(on: Bench) -> None:
    config = {"transforms": [{"field": "name", "transform": "slugify"}]}
    answer = await on.run("transform", config, scope={"input": {"name": "Ä B"}, "entity": None})
    assert isinstance(answer, Done)
    assert answer.output == {"fields": {"name": "a-b"}}


@pytest.mark.parametrize(
    ("fields", "transform", "code"),
    [
        ({"x": 3}, "trim", "not_a_text"),
        ({"x": ["a", 3]}, "trim", "not_a_text"),
        ({"x": {"y": "a"}}, "slugify", "not_a_text"),
        ({"x": "a" * 100_001}, "markdown_to_html", "text_too_long"),
    ],
)
async def test_what_cannot_be_rewritten_is_named(
    on: Bench, fields: dict[str, JsonValue], transform: str, code: str
) -> None:
    config = {"transforms": [{"field": "x", "transform": transform}]}
    with pytest.raises(StepError) as caught:
        await on.run("transform", config, scope=about(**fields))
    assert (caught.value.stable_code, caught.value.retryable) == (code, False)
    assert "'x'" in caught.value.message


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[a](javascript:alert(1))",
        "[a](JaVa&#115;cript:alert(1))",
        "<javascript:alert(1)>",
        "![a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a][b]\n\n[b]: vbscript:msgbox(1)",
    ],
)
async def test_html_of_authors_is_harmless(on: Bench, markdown: str) -> None:
    config = {"transforms": [{"field": "x", "transform": "markdown_to_html", "target": "html"}]}
    answer = await on.run("transform", config, scope=about(x=markdown))
    assert isinstance(answer, Done)
    assert answer.entity is not None
    html = answer.entity.fields["html"]
    assert isinstance(html, str)
    for tag in ("<script", "<img", "<a "):
        assert tag not in html
