"""Rules of the house that no linter knows, and the examples in the engine's docstrings."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "worker", "workflows", "activities", "store", "engine", "tests")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
ENGINE = sorted((ROOT / "engine").rglob("*.py"))
MAX_LINES = 400


def test_the_rooms_are_found() -> None:
    assert ROOT / "engine" / "progress.py" in ENGINE
    assert Path(__file__) in SOURCES


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_source_file_is_too_long_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_the_changelog_has_a_place_for_what_is_next() -> None:
    changelog = ROOT / "CHANGELOG.md"
    assert not changelog.exists() or "## [Unreleased]" in changelog.read_text()


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_in_the_engine_are_true(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(name)).failed == 0
