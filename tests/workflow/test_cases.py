"""Every case in `cases/*.yaml` does what it says, on a real server with the production worker.

A case has a `definition` and says what it expects: `status` (completed unless it says otherwise),
`steps` (status by id; null for a step that was never reached), `outputs`, `output`, `error` (code,
step and a part of the message), `attempts`, `deliveries` (requests to paths that start so), `keys`
(distinct idempotency keys there) and `in_a_blob` (steps whose output is not in their row).
`$URL` is a receiver of the case's own. All cases run at the same time.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from activities.registry import catalog
from engine.lifecycle import EventType
from engine.validation import check
from store.events import EventRow
from store.runs import RunRow
from store.steps import StepRow
from tests.grammar import check_log
from tests.house import House
from tests.receiver import Receiver

CASES = {
    f"{path.stem}/{name}": case | {"name": name}
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for name, case in yaml.safe_load(path.read_text()).items()
}
EXPECTED = {
    "name",
    "definition",
    "input",
    "status",
    "steps",
    "outputs",
    "output",
    "error",
    "attempts",
    "deliveries",
    "keys",
    "in_a_blob",
}


@dataclass
class Played:
    """What became of a case."""

    run: RunRow
    steps: dict[str, StepRow]
    receiver: Receiver
    told: list[EventRow]


@pytest.fixture(scope="module")
async def played(house: House) -> AsyncIterator[dict[str, Played]]:
    """All cases, played side by side."""
    room = asyncio.Semaphore(12)
    found: dict[str, Played] = {}
    async with contextlib.AsyncExitStack() as receivers:
        await asyncio.gather(
            *(_play(house, name, receivers, room, found) for name in CASES), return_exceptions=True
        )
        yield found


async def _play(
    house: House,
    name: str,
    receivers: contextlib.AsyncExitStack,
    room: asyncio.Semaphore,
    found: dict[str, Played],
) -> None:
    case = CASES[name]
    receiver = await receivers.enter_async_context(Receiver())
    async with room:
        run_id = await house.start(_definition(case, receiver.url("")), case.get("input"))
        with contextlib.suppress(AssertionError):
            await house.until(run_id, patience=40)
        told = await house.events(run_id)
        found[name] = Played(await house.run(run_id), await house.steps(run_id), receiver, told)


def _definition(case: dict[str, Any], url: str) -> dict[str, Any]:
    text = json.dumps({"name": case["name"], **case["definition"]})
    written: dict[str, Any] = json.loads(text.replace("$URL", url))
    return written


@pytest.mark.parametrize("name", CASES)
def test_the_case_is_one_that_the_api_would_take(name: str) -> None:
    assert set(CASES[name]) <= EXPECTED
    definition = _definition(CASES[name], "http://127.0.0.1:9")
    assert check(definition, catalog()).problems == []


@pytest.mark.parametrize("name", CASES)
def test_the_run_ends_as_the_case_says(name: str, played: dict[str, Played]) -> None:
    case, seen = CASES[name], played[name]
    assert seen.run.status == case.get("status", "completed"), seen.run.error
    expected = case.get("error", {})
    error = seen.run.error or {}
    for key in ("code", "step"):
        assert key not in expected or error[key] == expected[key]
    assert expected.get("message", "") in str(error.get("message", ""))
    if "output" in case:
        assert seen.run.output == case["output"]
    ended = sum(event.type is EventType.RUN_COMPLETED for event in seen.told)
    assert ended == (0 if case.get("status") == "paused" else 1)


@pytest.mark.parametrize("name", CASES)
def test_its_log_is_in_order(name: str, played: dict[str, Played]) -> None:
    check_log(played[name].told, played[name].run.status)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "steps" in case])
def test_its_steps_end_as_the_case_says(name: str, played: dict[str, Played]) -> None:
    case, seen = CASES[name], played[name]
    found = {id_: str(row.status) for id_, row in seen.steps.items()}
    assert found == {id_: status for id_, status in case["steps"].items() if status}
    for step, output in case.get("outputs", {}).items():
        assert seen.steps[step].output == output
    for step, attempt in case.get("attempts", {}).items():
        assert seen.steps[step].attempt == attempt
    if "in_a_blob" in case:
        large = [id_ for id_, row in seen.steps.items() if not row.output_inline]
        assert sorted(large) == case["in_a_blob"]


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "deliveries" in case or "keys" in case]
)
def test_it_reaches_out_as_often_as_the_case_says(name: str, played: dict[str, Played]) -> None:
    case, receiver = CASES[name], played[name].receiver
    found = {path: receiver.count(path) for path in case.get("deliveries", {})}
    assert found == case.get("deliveries", {})
    keys = {path: len(receiver.keys(path)) for path in case.get("keys", {})}
    assert keys == case.get("keys", {})
