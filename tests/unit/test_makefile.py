"""The commands that are written down anywhere exist, and CI runs the same as everybody."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from app.__main__ import cli

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "docker-compose.yml")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: As code: at the start of a line of a block, or in backticks.
AS_CODE = r"(?:^ *|`)(?:\.venv/bin/)?{} ([a-z][a-z-]*)"


def test_help_is_the_default_and_lists_every_target() -> None:
    out = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) +\S", out, re.MULTILINE)) == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_ci_runs_what_everybody_runs() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^make (\S+)$", script.read_text(), re.MULTILINE) == [
        "check",
        "test",
        "test-slow",
    ]
    subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_docs_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(AS_CODE.format("make"), text, re.MULTILINE)) <= TARGETS
    commands = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]  # a group
    assert set(re.findall(AS_CODE.format("signalbox"), text, re.MULTILINE)) <= commands


def test_commands_of_the_makefile_exist() -> None:
    commands = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]  # a group
    assert set(re.findall(r"\$\(BIN\)/signalbox ([a-z-]+)", MAKEFILE)) <= commands


#: An interpreter that says that it is older than it is.
OLD = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = (3, 10, 9); exec(sys.argv[2])' "$@"
"""


def test_a_python_that_is_too_old_is_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("make", "sh", "awk"):
        (path / name).symlink_to(str(shutil.which(name)))
    old = path / "python3"
    old.write_text(OLD.format(python=sys.executable))
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "install"],
        cwd=tmp_path,
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "signalbox: Python 3.11 or newer is needed, and none was found"
    )
    assert not (tmp_path / ".venv").exists()
