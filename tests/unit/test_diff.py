"""Differences: what is told is short, and applying it gives the new document exactly."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.registry import catalog
from engine.diff import diff, same, summary
from engine.validation import check
from tests import generated

many = settings(max_examples=150)


def applied(operations: list[dict[str, Any]], document: Any) -> Any:
    """What an implementation of RFC 6902 that is not ours makes of it."""
    return jsonpatch.apply_patch(copy.deepcopy(document), copy.deepcopy(operations))


def steps(*ids: str, **more: Any) -> dict[str, Any]:
    """A definition of steps that are told apart by their ids alone."""
    made = [{"id": id_, "type": "transform", "config": {"output": 1}} for id_ in ids]
    return {"name": "w", "steps": made, **more}


@given(generated.json, generated.json)
@many
def test_the_operations_make_any_document_of_any_other(old: Any, new: Any) -> None:
    assert same(applied(diff(old, new), old), new)
    assert same(applied(diff(new, old), new), old)


@given(generated.definitions(), generated.definitions())
@many
def test_the_operations_lead_from_one_definition_to_another_and_back(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    there, back = diff(old, new), diff(new, old)
    assert same(applied(there, old), new)
    assert same(applied(back, applied(there, old)), old)
    assert (there == []) == same(old, new) == (summary(old, new) == "No changes")


@given(generated.definitions())
@many
def test_what_hypothesis_makes_up_is_valid(definition: dict[str, Any]) -> None:
    assert check(definition, catalog()).problems == []


@given(st.permutations("abcdefgh"), st.permutations("abcdefgh"))
@many
def test_a_new_order_moves_no_more_than_it_must(old: list[str], new: list[str]) -> None:
    operations = diff(steps(*old), steps(*new))
    assert same(applied(operations, steps(*old)), steps(*new))
    assert {operation["op"] for operation in operations} <= {"move"}
    staying = longest_in_order([new.index(key) for key in old])
    assert len(operations) <= len(old) - staying


def longest_in_order(numbers: list[int]) -> int:
    """By the book: the longest run that ends with each."""
    lengths: list[int] = []
    for index, number in enumerate(numbers):
        earlier = zip(numbers[:index], lengths, strict=True)
        lengths.append(1 + max((length for other, length in earlier if other < number), default=0))
    return max(lengths)


def test_the_published_example() -> None:
    def fetch(url: str) -> dict[str, Any]:
        return {"id": "fetch", "type": "http_request", "config": {"method": "GET", "url": url}}

    notify = {"id": "notify", "type": "webhook", "config": {"url": "https://hooks.example.com/x"}}
    recover = {"id": "recover", "type": "transform", "config": {"output": None}}
    old = {"name": "w", "steps": [fetch("https://old-url.com"), notify]}
    new = {"name": "w", "steps": [fetch("https://new-url.com"), notify, recover]}
    assert diff(old, new) == [
        {"op": "add", "path": "/steps/2", "value": recover},
        {"op": "replace", "path": "/steps/0/config/url", "value": "https://new-url.com"},
    ]
    assert summary(old, new) == "Added 1 step, modified 1 step"


@pytest.mark.parametrize(
    ("old", "new", "operations", "words"),
    [
        (steps("a", "b"), steps("a", "b"), [], "No changes"),
        (
            steps("a", "b", "c"),
            steps("new", "a", "b", "c"),
            [{"op": "add", "path": "/steps/0", "value": steps("new")["steps"][0]}],
            "Added 1 step",
        ),
        (
            steps("a", "b", "c", "d"),
            steps("b", "d"),
            [{"op": "remove", "path": "/steps/2"}, {"op": "remove", "path": "/steps/0"}],
            "Removed 2 steps",
        ),
        (
            steps("a", "b", "c", "d"),
            steps("d", "a", "b", "c"),
            [{"op": "move", "from": "/steps/3", "path": "/steps/0"}],
            "Reordered steps",
        ),
        (
            steps("a"),
            steps("a", name="x", description="d"),
            [
                {"op": "add", "path": "/description", "value": "d"},
                {"op": "replace", "path": "/name", "value": "x"},
            ],
            "Changed name, added description",
        ),
        (steps("a", output=1), steps("a"), [{"op": "remove", "path": "/output"}], "Removed output"),
    ],
)
def test_what_is_told_is_short(
    old: dict[str, Any], new: dict[str, Any], operations: list[Any], words: str
) -> None:
    assert diff(old, new) == operations
    assert summary(old, new) == words


def test_a_change_in_the_body_of_a_loop_is_told_where_it_is() -> None:
    def around(*body: str) -> dict[str, Any]:
        loop = {
            "id": "each",
            "type": "loop",
            "config": {"items": [1], "steps": steps(*body)["steps"]},
        }
        return {"name": "w", "steps": [loop]}

    assert diff(around("a", "b"), around("a", "x", "b")) == [
        {"op": "add", "path": "/steps/0/config/steps/1", "value": steps("x")["steps"][0]}
    ]
    assert summary(around("a"), around("b")) == "Modified 1 step"


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ("", None)]
)
def test_what_python_takes_for_the_same_is_told(old: Any, new: Any) -> None:
    assert diff({"v": old}, {"v": new}) != []
    assert not same(old, new)


def test_a_very_long_list_is_compared_by_position() -> None:
    """Matching its entries would take the square of their number."""
    old = [{"id": str(number), "v": 1} for number in range(20_000)]
    new = old[::-1]
    operations = diff(old, new)
    assert {operation["op"] for operation in operations} == {"replace"}
    assert same(applied(operations, old), new)
