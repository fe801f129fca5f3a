"""Days that pass in a moment: the server's clock jumps to whatever is due next."""

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from engine.lifecycle import RunStatus, StepStatus
from store.database import Database
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.definitions import flow, get, step

DAY = 86_400
MICROS = 1_000_000


@pytest.fixture
async def leaping(
    skipping: WorkflowEnvironment, migrated: Path, tmp_path: Path
) -> AsyncIterator[House]:
    """A house on the server whose time is virtual."""
    shutil.copy(migrated, tmp_path / "signalbox.db")
    database = Database(f"sqlite:///{tmp_path / 'signalbox.db'}")
    async with open_house(skipping.client, database) as house:
        yield house
    await database.close()


async def elapsed(house: House, temporal_id: str) -> float:
    """Seconds of virtual time from the start of an execution to its end."""
    handle = house.client.get_workflow_handle(temporal_id)
    await handle.result()
    told = await handle.describe()
    assert told.close_time is not None
    return (told.close_time - told.start_time).total_seconds()


async def test_a_month_of_waiting(leaping: House, receiver: Receiver) -> None:
    begun = time.time()
    run = await leaping.finish(
        flow(
            step("wait", "hold", duration=30 * DAY),
            get(receiver, "after", "", "hold"),
        )
    )
    assert run.status is RunStatus.COMPLETED, run.error
    row = (await leaping.steps(run.id))["hold"]
    assert row.output is not None
    assert 30 * DAY - 60 < row.output["waited_seconds"] <= 30 * DAY
    assert begun + 60 > (row.started_at or 0) / MICROS > begun - 60
    assert receiver.count("/after") == 1
    assert 30 * DAY <= await elapsed(leaping, run.temporal_id) < 30 * DAY + 600


async def test_waits_one_after_the_other_add_up(leaping: House) -> None:
    run = await leaping.finish(
        flow(
            step("wait", "one", duration=10 * DAY),
            step("wait", "two", "one", duration=20 * DAY),
            step("wait", "three", "two", until="2020-01-01T00:00:00Z"),
        )
    )
    assert run.status is RunStatus.COMPLETED, run.error
    assert 30 * DAY <= await elapsed(leaping, run.temporal_id) < 30 * DAY + 600


async def test_back_offs_are_as_long_as_they_say(leaping: House, receiver: Receiver) -> None:
    retry = {"max_attempts": 4, "delay": 3_600, "backoff": "exponential", "max_delay": 10_000}
    run = await leaping.finish(flow(get(receiver, "a", "/flaky/3/a", retry=retry)))
    assert run.status is RunStatus.COMPLETED, run.error
    assert receiver.count("/") == 4
    expected = 3_600 + 7_200 + 10_000
    assert expected <= await elapsed(leaping, run.temporal_id) < expected + 600


async def test_the_shorter_of_two_waits_is_over_first(leaping: House, receiver: Receiver) -> None:
    run = await leaping.finish(
        flow(
            step("wait", "long", duration=9 * DAY),
            step("wait", "short", duration=2 * DAY),
            get(receiver, "first", "", "short"),
            get(receiver, "second", "", "long"),
        )
    )
    assert run.status is RunStatus.COMPLETED, run.error
    assert [d.path for d in receiver.deliveries] == ["/first", "/second"]
    assert {row.status for row in (await leaping.steps(run.id)).values()} == {StepStatus.COMPLETED}
    assert 9 * DAY <= await elapsed(leaping, run.temporal_id) < 9 * DAY + 600


async def test_a_condition_is_asked_for_a_day(leaping: House) -> None:
    """Temporal repeats the question by its own clock, and the step gives up by it."""
    hour = 3_600
    run = await leaping.finish(
        flow(step("wait", "poll", condition="false", poll_interval=hour, timeout=10 * hour))
    )
    assert (run.error or {})["code"] == "wait_timeout"
    assert run.status is RunStatus.FAILED
