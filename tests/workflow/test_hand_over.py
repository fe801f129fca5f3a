"""What takes long goes on as an ordinary activity, and its request is made once."""

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from temporalio.api.enums.v1 import EventType

import worker.build
from engine.lifecycle import RunStatus, StepStatus
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import Step, flow, get
from tests.workflow.patience import until
from worker.build import build
from worker.settings import Settings
from workflows.contract import workflow_id

MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
ORDINARY = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


async def lanes(house: House, run_id: str) -> Counter[int]:
    """How many local and ordinary activities the run's history shows."""
    row = await house.run(run_id)
    history = await house.client.get_workflow_handle(row.temporal_id).fetch_history()
    kinds = Counter(int(event.event_type) for event in history.events)
    return Counter({MARKER: kinds[MARKER], ORDINARY: kinds[ORDINARY]})


async def test_a_slow_request_is_made_once(house: House, receiver: Receiver) -> None:
    """The ledger opens and closes the run in two local activities."""
    policies: list[tuple[str, Step, Counter[int]]] = [
        ("/slow/1.8/a", {}, Counter({MARKER: 3, ORDINARY: 1})),
        ("/slow/1.8/b", {"local": False}, Counter({MARKER: 2, ORDINARY: 1})),
        ("/slow/1.8/c", {"effect": "once"}, Counter({MARKER: 2, ORDINARY: 1})),
    ]
    run_ids = [
        await house.start(flow(get(receiver, "a", path, **more))) for path, more, _ in policies
    ]
    for run_id, (path, _, expected) in zip(run_ids, policies, strict=True):
        assert (await house.until(run_id)).status is RunStatus.COMPLETED
        assert receiver.keys(path) == Counter({f"{run_id}/a/-/1": 1})
        await house.client.get_workflow_handle(workflow_id(run_id, 1)).result()
        assert await lanes(house, run_id) == expected
        types = [str(event.type) for event in await house.events(run_id)]
        assert types.count("step_started") == types.count("step_completed") == 1


async def test_a_quick_request_stays_local(house: House, receiver: Receiver) -> None:
    """One of these: on a machine that is busy enough, any of them may take long."""
    runs = [await house.finish(flow(get(receiver, "a", "/quick"))) for _ in range(5)]
    for run in runs:
        await house.client.get_workflow_handle(workflow_id(run.id, 1)).result()
    assert Counter({MARKER: 3, ORDINARY: 0}) in [await lanes(house, run.id) for run in runs]
    assert receiver.keys() == Counter({f"{run.id}/a/-/1": 1 for run in runs})


async def test_a_step_that_was_handed_over_is_cancelled(house: House, receiver: Receiver) -> None:
    run_id = await house.start(flow(get(receiver, "a", "/slow/600/a")))

    async def handed_over() -> bool:
        return (await lanes(house, run_id))[ORDINARY] == 1

    await until(handed_over, "it is not handed over")
    await house.cancel(run_id)
    assert (await house.until(run_id)).status is RunStatus.CANCELLED
    assert (await house.steps(run_id))["a"].status is StepStatus.CANCELLED
    assert receiver.answered == 0


async def test_the_time_of_a_step_goes_on_across_the_hand_over(
    house: House, receiver: Receiver
) -> None:
    run = await house.finish(flow(get(receiver, "a", "/slow/600/a", timeout=2.5)))
    assert run.status is RunStatus.FAILED
    assert "2.5 s" in str((run.error or {})["message"])
    row = (await house.steps(run.id))["a"]
    assert row.status is StepStatus.FAILED
    assert (row.completed_at or 0) - (row.started_at or 0) > 2_000_000
    assert receiver.count("/") == 1


async def test_what_one_worker_leaves_another_finishes(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.build, "GRACE", 1)
    queue = f"{house.queue}-two"
    elsewhere = replace(house, queue=queue)

    @contextlib.asynccontextmanager
    async def working(name: str) -> AsyncGenerator[None, None]:
        settings = Settings.model_validate(
            {
                "SIGNALBOX_EGRESS_ALLOW": "127.0.0.0/8",
                "SIGNALBOX_TASK_QUEUE": queue,
                # Runs that other tests have left hold places of the same organisation.
                "WORKFLOW_MAX_CONCURRENT_RUNS": 1_000,
            }
        )
        async with (
            build(house.client, house.database, settings, worker_id=name) as built,
            built.worker,
        ):
            yield

    async with working("first"):
        run_ids = [
            await elsewhere.start(
                flow(
                    get(receiver, "a", f"/first/60/{local}", local=local),
                    get(receiver, "b", "", "a"),
                )
            )
            for local in (True, False)
        ]
        await until(lambda: receiver.count("/first") >= 2, "no requests")
    assert receiver.answered == 0
    async with working("second"):
        for run_id in run_ids:
            run = await elsewhere.until(run_id)
            assert run.status is RunStatus.COMPLETED, run.error
            rows = await house.steps(run_id)
            assert (rows["a"].worker, rows["a"].attempt) == ("second", 1)
    assert receiver.keys("/first") == Counter({f"{run_id}/a/-/1": 2 for run_id in run_ids})
    assert receiver.count("/b") == 2
