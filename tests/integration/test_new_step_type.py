"""Adding a step type is one file: put into a checkout, it is everywhere; nothing else changes."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.service import MODULE, PATIENCE, Service

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "worker", "workflows", "activities", "store", "engine", "examples")
SHOUT = '''"""`shout`: say it louder."""

from pydantic import Field

from activities.base import StepConfig, StepContext, StepType
from engine.outcomes import Done


class Config(StepConfig):
    """Says a text in capitals."""

    text: str = Field(description="What to say.")
    times: int = Field(default=1, ge=1, le=3, description="How often.")


async def run(config: Config, context: StepContext) -> Done:
    """Answer the text in capitals."""
    return Done(output=" ".join([config.text.upper()] * config.times))


STEP = StepType(config=Config, run=run, output="the text in capitals.", lane="decides")
'''


def definition(**config: object) -> dict[str, object]:
    return {"name": "Loud", "steps": [{"id": "say", "type": "shout", "config": config}]}


def printed(checkout: Path, *words: str) -> str:
    done = subprocess.run(
        [*MODULE, *words],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
async def test_a_step_type_is_one_file(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for room in ROOMS:
        shutil.copytree(ROOT / room, checkout / room)
    before = printed(checkout, "step-types")
    (checkout / "activities" / "steps" / "shout.py").write_text(SHOUT)

    after = printed(checkout, "step-types")
    assert "| `times` | whole number | `1` | How often. |" in after
    assert "## `shout`" in after
    assert set(before.splitlines()) < set(after.splitlines())

    schemas = json.loads(printed(checkout, "openapi"))["components"]["schemas"]
    assert schemas["ShoutConfig"]["description"] == "Says a text in capitals."
    assert schemas["Step"]["discriminator"]["mapping"]["shout"] == "#/components/schemas/ShoutStep"

    file = tmp_path / "definition.json"
    file.write_text(json.dumps(definition(volume=3, times=9)))
    complaints = printed(checkout, "validate", str(file))
    for said in (
        "volume: Step 'say': unknown key 'volume'",
        "times: Step 'say': config.times: must be at most 3",
        "text: Step 'say': 'text' is missing in config",
    ):
        assert f"steps.0.config.{said}" in complaints

    service = Service(tmp_path / "data", checkout)
    try:
        await service.start()
        key = (tmp_path / "data" / "api-key").read_text().strip()
        wanted = definition(text="{{ input.word }}", times=2)
        made = await service.request("POST", "/api/workflows", key, {"definition": wanted})
        assert made.status_code == 201, made.text
        url = f"/api/workflows/{made.json()['id']}/run"
        started = await service.request("POST", url, key, {"input_data": {"word": "hello"}})
        url = f"/api/workflows/runs/{started.json()['run_id']}"
        async with asyncio.timeout(PATIENCE):
            while (run := (await service.get(url, key)).json()["run"])["completed_at"] is None:
                await asyncio.sleep(0.05)
        assert (run["status"], run["output"]) == ("completed", "HELLO HELLO")
    finally:
        await service.clean_up()
