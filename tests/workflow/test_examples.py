"""The examples are what they say: valid, complete, and they work when they are run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from activities.registry import catalog
from engine.lifecycle import RunStatus
from engine.validation import check
from tests.house import House
from tests.receiver import Receiver

EXAMPLES = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
}
#: Changes to the sample input, what is requested, the status of steps, and the run's output.
Play = tuple[dict[str, Any], dict[str, int], dict[str, str], Any]
PLAYS: dict[str, list[Play]] = {
    "fetch_and_notify": [
        ({}, {"/data": 1, "/notify": 1}, {"notify": "completed"}, {"status_code": 200}),
    ],
    "scheduled_report": [
        ({}, {"/sales": 1, "/visits": 1, "/reports": 1}, {"send": "completed"}, None),
        ({"sales_url": "$URL/status/500/x"}, {"/reports": 1}, {"sales": "failed"}, None),
    ],
    "conditional_alert": [
        ({}, {"/health": 1, "/alarm": 0}, {"alarm": "skipped"}, "All is well."),
        (
            {"url": "$URL/status/500/x"},
            {"/status": 1, "/alarm": 1},
            {"note": "skipped"},
            {"status_code": 200},
        ),
    ],
    "loop_over_a_list": [
        ({}, {"/people": 3}, {"each": "completed"}, {"sent": 3, "of": 3}),
        ({"url": "$URL/status/404"}, {"/status": 3}, {"each": "completed"}, {"sent": 0, "of": 3}),
    ],
    "publish_checked_content": [
        ({}, {"/articles": 1, "/notify": 1}, {"tell": "completed"}, {"published": True}),
        (
            {"article": {"title": "T", "slug": "t", "body": "x" * 20, "seoScore": 59}},
            {"/articles": 0, "/notify": 0},
            {"check": "completed", "publish": "skipped", "tell": "skipped"},
            {"published": False},
        ),
    ],
    "quarterly_privacy_sweep": [
        # There are no vendors here; `tests/integration/test_sweep.py` plays it with forty.
        (
            {},
            {"/": 0},
            {"each": "completed", "report": "completed"},
            {
                "due_date": "2026-06-30",
                "asked": 0,
                "answered": [],
                "silent": [],
                "not_reached": 0,
            },
        ),
    ],
    "summarise_and_notify": [
        ({}, {"/data": 1, "/notify": 1}, {"summary": "completed"}, "Hello there."),
    ],
    "wait_for_a_condition": [
        ({}, {"/jobs": 1, "/reminders": 0}, {"remind": "skipped"}, {"path": "/jobs", "n": 1}),
        (
            {"job_url": "$URL/slow/4/x", "patience": 1},
            {"/slow": 1, "/reminders": 1},
            {"watch": "failed", "remind": "completed"},
            {"path": "/slow/4/x", "n": 1},
        ),
    ],
}


def test_every_example_is_played() -> None:
    assert set(PLAYS) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_is_complete_and_valid(name: str) -> None:
    example = EXAMPLES[name]
    assert list(example) == ["name", "description", "category", "input", "definition"]
    assert example["name"] == example["definition"]["name"]
    assert check(example["definition"], catalog()).problems == []


@pytest.mark.parametrize(
    ("name", "play"), [(name, play) for name, plays in PLAYS.items() for play in plays]
)
async def test_the_example_works(house: House, receiver: Receiver, name: str, play: Play) -> None:
    changes, deliveries, statuses, output = play
    data = json.dumps(EXAMPLES[name]["input"] | changes)
    for placeholder in ("https://api.example.com", "https://hooks.example.com", "$URL"):
        data = data.replace(placeholder, receiver.url(""))
    run = await house.finish(EXAMPLES[name]["definition"], json.loads(data))
    assert run.status is RunStatus.COMPLETED, run.error
    assert {path: receiver.count(path) for path in deliveries} == deliveries
    rows = await house.steps(run.id)
    assert {id_: str(rows[id_].status) for id_ in statuses} == statuses
    if output is not None:
        assert run.output == output
