"""`docs/reference/settings.md` names every setting, each with its default, and none that is not."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from app.settings import Settings as ApiSettings
from worker.settings import Settings as WorkerSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/settings.md").read_text()
OURS = re.compile(r"\b(?:SIGNALBOX_[A-Z_]*[A-Z]|WORKFLOW_[A-Z_]*[A-Z]|DATABASE_URL)\b")
#: Said otherwise in the page than by the code: they are worked out when a process starts.
WORKED_OUT = {
    "DATABASE_URL",
    "SIGNALBOX_API_KEY",
    "SIGNALBOX_KEY_PEPPER",
    "SIGNALBOX_SECRETS_KEY",
}


def _fields(settings: Any) -> dict[str, FieldInfo]:
    return {
        str(field.validation_alias or field.alias): field
        for field in settings.model_fields.values()
    }


def _rows() -> dict[str, list[str]]:
    """The cells of the page's first table, by variable."""
    table = PAGE.split("|---|---|---|---|\n", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows}


API, WORKER, ROWS = _fields(ApiSettings), _fields(WorkerSettings), _rows()


def test_the_table_lists_the_settings_and_nothing_else() -> None:
    assert set(ROWS) == set(API) | set(WORKER)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_table_says_who_reads_a_setting_and_its_default(name: str) -> None:
    readers, default, meaning = ROWS[name]
    reads = [part for part, fields in (("api", API), ("worker", WORKER)) if name in fields]
    assert readers == ", ".join(reads)
    assert meaning
    if name in WORKED_OUT:
        return
    field = API.get(name) or WORKER[name]
    assert default.strip("`") == (str(field.default) or "empty")


@pytest.mark.parametrize("name", sorted(set(API) & set(WORKER)))
def test_settings_of_two_processes_agree(name: str) -> None:
    api, worker = API[name], WORKER[name]
    assert (api.annotation, api.default, repr(api.metadata)) == (
        worker.annotation,
        worker.default,
        repr(worker.metadata),
    )


def test_no_variable_of_ours_is_a_secret() -> None:
    """Whatever the code calls by name is on the page."""
    rooms = ("app", "worker", "workflows", "activities", "store", "engine")
    sources = [path.read_text() for room in rooms for path in (ROOT / room).rglob("*.py")]
    named = {name for source in sources for name in OURS.findall(source)}
    assert {"SIGNALBOX_FAILPOINT", "DATABASE_URL"} <= named
    assert named <= set(OURS.findall(PAGE))
