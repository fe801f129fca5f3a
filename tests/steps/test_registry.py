"""The registry finds every file of `activities/steps` and refuses a misfit."""

import sys
from pathlib import Path

import pytest

from activities import registry, steps
from activities.registry import catalog, step_types


def test_every_file_is_a_step_type() -> None:
    files = {path.stem for path in Path(steps.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(step_types()) == files
    assert list(step_types()) == sorted(files)
    assert {name: kind.name for name, kind in catalog().items()} == {name: name for name in files}


@pytest.mark.parametrize("name", step_types())
def test_a_type_names_keys_that_its_configuration_has(name: str) -> None:
    step = step_types()[name]
    keys = {field.alias or key for key, field in step.config.model_fields.items()}
    singles = {key for key in (step.body, step.whole) if key}
    assert {*step.expressions, *step.targets, *singles} <= keys
    assert step.config.model_config["extra"] == "forbid"


def test_a_file_without_a_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "misfit.py").write_text('"""Nothing."""\n')
    monkeypatch.setattr(steps, "__path__", [str(tmp_path)])
    registry.step_types.cache_clear()
    try:
        with pytest.raises(TypeError, match=r"activities/steps/misfit\.py has no STEP"):
            step_types()
    finally:
        monkeypatch.undo()
        registry.step_types.cache_clear()
        sys.modules.pop("activities.steps.misfit", None)
