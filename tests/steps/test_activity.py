"""`activity`: what it refuses before anything is asked of Temporal, and how it names failures."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from activities.clients.temporal_activities import LARGEST_INPUT, code_of
from activities.registry import step_types
from engine.errors import StepError
from tests.steps.stepping import OWN_QUEUE, Bench, bench
from worker.settings import Settings

GOOD = {"name": "charge", "task_queue": "payments-queue"}


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    """Its client reaches no server: what is not refused would wait for one."""
    async with bench() as opened:
        yield opened


async def refusal(on: Bench, **config: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await on.run("activity", GOOD | config)
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize(
    "queue", [OWN_QUEUE, f"/_sys/{OWN_QUEUE}/1", "/_sys/x", "temporal-sys-per-ns-queue"]
)
async def test_task_queues_that_are_not_for_workflows(on: Bench, queue: str) -> None:
    error = await refusal(on, task_queue=queue)
    assert error.stable_code == "task_queue_refused"
    assert "not for workflows" in error.message


@pytest.mark.parametrize("queue", ["payments", "PAYMENTS-QUEUE ", "queue"])
async def test_task_queues_that_the_setting_does_not_name(on: Bench, queue: str) -> None:
    error = await refusal(on, task_queue=queue)
    assert error.stable_code == "task_queue_refused"
    assert "SIGNALBOX_ACTIVITY_QUEUES" in error.message


async def test_inputs_that_temporal_would_not_carry(on: Bench) -> None:
    for text in ("x" * LARGEST_INPUT, "ü" * (LARGEST_INPUT // 2), "\n" * (LARGEST_INPUT // 2)):
        error = await refusal(on, input=text)
        assert error.stable_code == "input_too_large"
        assert f"{LARGEST_INPUT:,}" in error.message
    for value in (float("nan"), [float("inf")], {"a": "\ud800"}):
        assert (await refusal(on, input=value)).stable_code == "input_invalid"


@pytest.mark.parametrize(
    "config",
    [
        {"name": "x"},
        {"task_queue": "x"},
        GOOD | {"name": ""},
        GOOD | {"name": "x" * 201},
        GOOD | {"task_queue": "a\nb"},
        GOOD | {"task_queue": "a\0"},
        GOOD | {"heartbeat_timeout": 0},
        GOOD | {"schedule_to_start_timeout": -1},
        GOOD | {"arguments": []},
    ],
)
def test_configurations_that_cannot_be(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        step_types()["activity"].config.model_validate(config)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("CardDeclined", "card_declined"),
        ("card_declined", "card_declined"),
        ("com.acme.pay.CardDeclined", "card_declined"),
        ("HTTPError", "http_error"),
        ("IOError2", "io_error2"),
        ("*errors.errorString", "error_string"),
        ("", "activity_failed"),
        ("no such card!", "activity_failed"),
        ("x" * 65, "activity_failed"),
        ("OutcomeUnknown", "activity_failed"),
        ("Größe", "activity_failed"),
    ],
)
def test_a_failure_s_type_becomes_a_code(kind: str, code: str) -> None:
    assert code_of(kind) == code


@pytest.mark.parametrize("text", [",", "a,,b", " "])
def test_a_setting_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="separated by commas"):
        Settings.model_validate({"SIGNALBOX_ACTIVITY_QUEUES": text})
