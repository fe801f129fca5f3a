"""Validation: no document makes it raise, stall or answer at length."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.definition import MAX_STEPS
from engine.validation import MAX_PROBLEMS, check
from tests.unit.language import CATALOG, http, messages

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars | st.text(st.characters(codec=None), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)
names = st.sampled_from(["a", "b", "c", "loop", "", "A b"])
texts = st.sampled_from(["{{ steps.a.output }}", "{{ item", "input.x", "{{ steps['b'].status }}"])
step_like = st.fixed_dictionaries(
    {},
    optional={
        "id": names | anything,
        "type": st.sampled_from([*CATALOG, "other"]) | anything,
        "config": st.dictionaries(
            st.sampled_from(["url", "expression", "then", "else", "items", "condition", "body"]),
            st.lists(names, max_size=2) | texts | anything,
        )
        | anything,
        "depends_on": st.lists(names | anything, max_size=3) | anything,
        "on_error": st.sampled_from(["fallback", "fail", "pause"]) | anything,
        "fallback_step": names | anything,
        "catch_step": names | anything,
        "when": texts | anything,
        "timeout": anything,
    },
)
steps_like = st.recursive(
    st.lists(step_like | anything, max_size=4),
    lambda inner: st.lists(
        st.fixed_dictionaries(
            {
                "id": names,
                "type": st.just("loop"),
                "config": st.fixed_dictionaries({"items": texts, "steps": inner}),
            }
        )
        | step_like,
        max_size=3,
    ),
    max_leaves=6,
)
documents = anything | st.fixed_dictionaries(
    {"steps": steps_like}, optional={"name": st.just("w"), "output": texts | anything}
)


@given(documents)
@settings(max_examples=150)
def test_no_document_makes_it_raise(raw: Any) -> None:
    checked = check(raw, CATALOG)
    assert (checked.definition is None) == bool(checked.problems)
    for problem in checked.problems:
        f"{problem.message}{problem.step}{problem.path}".encode()
    assert check(raw, CATALOG).problems == checked.problems


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_bottomless_document_is_refused(wrap: Any) -> None:
    deep: Any = 1
    for _ in range(50_000):
        deep = wrap(deep)
    raw = {"name": "w", "steps": [http("a", config={"body": deep})]}
    (problem,) = check(raw, CATALOG).problems
    assert "nested" in problem.message
    while isinstance(deep, (list, dict)):
        deep = deep[0] if isinstance(deep, list) else deep["a"]


def test_a_flood_of_problems_is_cut() -> None:
    gone = [f"x{number}" for number in range(400)]
    steps = [http(f"s{number}", *gone) for number in range(400)]
    assert len(messages(*steps)) == MAX_PROBLEMS


def test_a_knot_of_500_steps_lists_some_cycles() -> None:
    ids = [f"s{number}" for number in range(MAX_STEPS)]
    found = messages(*(http(step, *ids) for step in ids))
    assert 1 <= len(found) <= 50
    assert all(message.startswith("Cycle detected: ") for message in found)


def test_500_steps_are_checked_and_messages_stay_short() -> None:
    steps = [http("s0")]
    for number in range(1, MAX_STEPS):
        text = f"{{{{ steps.s{number - 1}.output.n + {number} }}}}"
        steps.append(http(f"s{number}", f"s{number - 1}", config={"body": text}))
    raw = {"name": "w", "steps": steps}
    started = time.perf_counter()
    assert check(raw, CATALOG).problems == []
    print(f"500 steps: {(time.perf_counter() - started) * 1000:.0f} ms")
    long = check({"name": "w", "steps": [http("a" * 100_000, "b" * 100_000)]}, CATALOG).problems
    assert len(json.dumps([problem.message for problem in long])) < 2_000
