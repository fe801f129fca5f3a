"""What the how-to pages show is valid, and what they say that it does, it does."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from activities.registry import catalog
from engine.validation import check
from tests.house import House
from tests.receiver import Receiver

PAGES = sorted((Path(__file__).parents[2] / "docs" / "how-to").glob("*.md"))
BLOCK = re.compile(
    r"(?:^<!-- plays: (?P<play>\{[^\n]*\}) -->\n)?^```json\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def blocks() -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Every definition on the pages, with what is said of playing it."""
    found = {}
    for page in PAGES:
        for match in BLOCK.finditer(page.read_text()):
            document = json.loads(match["text"])
            if isinstance(document, dict) and "steps" in document:
                found[f"{page.stem}/{document['name']}"] = (match["play"], document)
    return found


BLOCKS = blocks()
PLAYS = {name: json.loads(play) for name, (play, _) in BLOCKS.items() if play}


def test_the_pages_are_found() -> None:
    assert {name.split("/")[0] for name in PLAYS} >= {"retries-and-errors", "loops", "waiting"}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_definition_on_a_page_is_valid(name: str) -> None:
    assert check(BLOCKS[name][1], catalog()).problems == []


@pytest.mark.parametrize("name", PLAYS)
async def test_it_does_what_the_page_says(house: House, receiver: Receiver, name: str) -> None:
    play = PLAYS[name]
    text = json.dumps(BLOCKS[name][1]).replace("https://api.example.com", receiver.url(""))
    run = await house.finish(json.loads(text), play.get("input"))
    assert run.status == play["status"], run.error
    assert run.output == play.get("output", run.output)
    wanted = play.get("deliveries", {})
    assert {path: receiver.count(path) for path in wanted} == wanted
