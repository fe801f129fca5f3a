"""What a wait takes along, what it is found by, and which events end it."""

from typing import Any

import pytest

from engine.matching import EVENT_VARIABLES, Happening, Pin, pin_of, pins, satisfies, taken_along

SCOPE: dict[str, Any] = {
    "input": {"ticket": "T-1", "n": 1, "list": [1, 2], "deep": {"a": {"b": "x", "c": "y"}}},
    "item": {"id": "v1"},
    "steps": {"send": {"status": "completed", "output": {"id": "q1", "rest": "large"}}},
    "event": {"id": "the run's own"},
}
ENTITY: dict[str, Any] = {"id": "v1", "type": "Vendor", "fields": {"tier": "gold"}}


def happening(entity: dict[str, Any] | None = None, /, **data: Any) -> Happening:
    return Happening("cbevt_1", "Answered", data, entity)


@pytest.mark.parametrize(
    ("match", "along"),
    [
        ("event.data.n > 1", {}),
        ("event.data.x == input.ticket", {"input": {"ticket": "T-1"}}),
        ("event.data.x == steps.send.output.id", {"steps": {"send": {"output": {"id": "q1"}}}}),
        (
            "input.deep.a.b == event.data.x || input.deep.a.c == 'y'",
            {"input": {"deep": {"a": {"b": "x", "c": "y"}}}},
        ),
        (
            "input.deep.a.b == event.data.x || has(input.deep.a)",
            {"input": {"deep": {"a": {"b": "x", "c": "y"}}}},
        ),
        ("input.list[0] == event.data.x", {"input": {"list": [1, 2]}}),
        ("input.list.exists(one, one == event.data.x)", {"input": {"list": [1, 2]}}),
        ("has(input.nothing.at.all) || has(input.ticket.inner)", {"input": {"ticket": "T-1"}}),
        ("event.data.x == item.id && entity.id == 'a'", {"item": {"id": "v1"}}),
    ],
)
def test_it_takes_along_what_it_mentions_and_no_more(match: str, along: dict[str, Any]) -> None:
    assert taken_along(match, SCOPE) == along


def test_what_is_taken_along_is_not_shared_with_the_scope() -> None:
    along = taken_along("input.deep.a.b == event.data.x && input.deep.a.c == 'y'", SCOPE)
    along["input"]["deep"]["a"].clear()  # type: ignore[index, call-overload, union-attr]
    assert SCOPE["input"]["deep"]["a"] == {"b": "x", "c": "y"}


@pytest.mark.parametrize(
    ("match", "pin"),
    [
        ("event.data.x == input.ticket", Pin(("event", "data", "x"), "T-1")),
        ("input.ticket == event.data['x']", Pin(("event", "data", "x"), "T-1")),
        ("event.data.n > 1 && event.data.x == 'a'", Pin(("event", "data", "x"), "a")),
        ("{{ entity.id == 'cb' + item.id }}", Pin(("entity", "id"), "cbv1")),
        # Nothing that an event has to have, or nothing that can be looked up.
        ("event.data.x == 'a' || event.data.y == 'b'", None),
        ("event.data.n == input.n", None),
        ("event.data.x == event.data.y", None),
        ("event.data.x == input.nothing", None),
        ("event.data.a.b == 'x'", None),
        ("event.data.x != 'a'", None),
        ("!(event.data.x == 'a')", None),
        ("true", None),
    ],
)
def test_it_is_found_by_a_text_that_the_event_has_to_have(match: str, pin: Pin | None) -> None:
    assert pin_of(match, SCOPE) == pin


def test_the_pins_of_an_event_are_its_texts() -> None:
    found = set(pins(happening(ENTITY, x="a", n=1, deep={"y": "b"}, none=None)))
    assert found == {Pin(("event", "data", "x"), "a"), Pin(("entity", "id"), "v1")}
    assert list(pins(Happening("1", "n", "only a text"))) == []


@pytest.mark.parametrize(
    ("match", "ends"),
    [
        (None, True),
        ("event.data.x == input.ticket", True),
        ("event.name == 'Answered' && event.id == 'cbevt_1'", True),
        ("entity.fields.tier == 'gold'", True),
        ("event.data.x == 'T-2'", False),
        # Neither true nor false, or nothing that can be said.
        ("event.data.x", False),
        ("event.data.nothing == 'a'", False),
        ("event.data.x > 1", False),
        ("input.nothing == event.data.x", False),
    ],
)
def test_only_what_is_true_ends_a_wait(match: str | None, ends: bool) -> None:
    along = taken_along(match, SCOPE) if match else {}
    assert satisfies(happening(ENTITY, x="T-1"), match, along) is ends


def test_without_an_entity_there_is_none() -> None:
    assert satisfies(happening(), "entity == null", {})
    assert not satisfies(happening(), "entity.id == 'v1'", {})


@pytest.mark.parametrize("match", ["event.data.x == input.ticket", "entity.id == item.id"])
def test_an_event_that_ends_a_wait_has_its_pin(match: str) -> None:
    came = happening(ENTITY, x="T-1")
    along = taken_along(match, SCOPE)
    assert satisfies(came, match, along)
    assert pin_of(match, along) in set(pins(came))
    assert set(EVENT_VARIABLES).isdisjoint(along)
