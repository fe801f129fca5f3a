"""Batches, as far as they are decided without anything else: plans of lanes, windows, shares."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.registry import catalog
from engine.batch import (
    MOST_AT_ONCE,
    MOST_LANES,
    WINDOWS_AT_ONCE,
    BatchOpened,
    lane_plan,
    shares,
    tally,
    whole_steps,
    window_size,
)
from engine.definition import Definition
from engine.facts import Facts, StepFact
from engine.lifecycle import StepStatus
from engine.plan import Plan, compile_plan


def plan(*steps: dict[str, Any]) -> Plan:
    return compile_plan(
        Definition.model_validate({"name": "b", "entity_type": "t", "steps": [*steps]}), catalog()
    )


def step(id_: str, *after: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "type": "transform", "config": {"output": 1}, "depends_on": [*after], **more}


def notice(id_: str, *after: str, once: bool = True, **more: Any) -> dict[str, Any]:
    config = {"channel": "email", "to": "a@example.com", "once": once}
    return step(id_, *after, **more) | {"type": "notify", "config": config}


def test_a_lane_goes_round_what_is_for_the_whole_batch() -> None:
    whole = plan(step("a"), notice("b", "a"), notice("c", "b"), step("d", "c", "a"), step("e", "d"))
    assert {one.id: one.depends_on for one in lane_plan(whole).steps} == {
        "a": [],
        "d": ["a"],
        "e": ["d"],
    }
    assert [one.id for one in whole_steps(whole)] == ["b", "c"]


def test_what_is_for_each_entity_or_turned_off_is_not_for_the_whole_batch() -> None:
    every = plan(step("a"), notice("b", "a", once=False), notice("c", "b", enabled=False))
    assert [one.id for one in lane_plan(every).steps] == ["a", "b"]
    assert whole_steps(every) == []


def test_a_step_that_was_not_reached_is_left_out() -> None:
    facts = Facts(
        steps={
            "a": StepFact(status=StepStatus.COMPLETED),
            "b": StepFact(status=StepStatus.FAILED),
            "c": StepFact(status=StepStatus.CANCELLED),
        }
    )
    steps = plan(step("a"), step("b", "a"), step("c", "b"), step("d", "c"))
    assert tally(steps, facts) == {
        "a": StepStatus.COMPLETED,
        "b": StepStatus.FAILED,
        "c": StepStatus.SKIPPED,
        "d": StepStatus.SKIPPED,
    }


@given(st.integers(1, MOST_LANES), st.integers(1, MOST_AT_ONCE))
def test_windows_cover_all_lanes_and_share_the_concurrency(total: int, concurrency: int) -> None:
    opened = BatchOpened(
        state="admitted", total=total, size=window_size(total, concurrency), concurrency=concurrency
    )
    assert (opened.windows - 1) * opened.size < total <= opened.windows * opened.size
    # Six events or so a window, and a history may not grow past 10,000.
    assert opened.windows <= 1_000
    found = shares(concurrency, opened.windows)
    assert sum(found) == concurrency
    assert min(found) >= 1
    # What was asked for is under way while there is enough to do.
    assert sum(min(share, opened.size) for share in found) >= min(concurrency, total)
    assert len(found) <= min(WINDOWS_AT_ONCE, opened.windows)


@pytest.mark.parametrize(("windows", "found"), [(0, [20]), (1, [20]), (3, [7, 7, 6])])
def test_few_windows_have_large_shares(windows: int, found: list[int]) -> None:
    assert shares(20, windows) == found
