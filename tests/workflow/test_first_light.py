"""The first path through the whole house."""

from engine.lifecycle import RunStatus, StepStatus
from tests.house import House
from tests.receiver import Receiver
from tests.workflow.definitions import flow, step


async def test_fetch_and_tell(house: House, receiver: Receiver) -> None:
    run = await house.finish(
        {
            "name": "Fetch and notify",
            "steps": [
                {"id": "fetch", "type": "http_request", "config": {"url": receiver.url("/data")}},
                {
                    "id": "notify",
                    "type": "transform",
                    "config": {"output": {"said": "{{ steps.fetch.output.body.path }}"}},
                    "depends_on": ["fetch"],
                },
            ],
        }
    )
    assert run.status is RunStatus.COMPLETED, run.error
    rows = await house.steps(run.id)
    assert rows["notify"].status is StepStatus.COMPLETED
    assert rows["notify"].output == {"said": "/data"}
    assert run.output == {"said": "/data"}
    told = [(event.type, event.step_id) for event in await house.events(run.id)]
    assert told == [
        ("run_queued", None),
        ("run_started", None),
        ("step_started", "fetch"),
        ("step_completed", "fetch"),
        ("step_started", "notify"),
        ("step_completed", "notify"),
        ("run_completed", None),
    ]


async def test_time_does_not_run_backwards(house: House) -> None:
    """Not from a step to a wait after it either, whose timer goes by the server's clock."""
    run = await house.finish(
        flow(
            step("transform", "made", output=1),
            step("wait", "held", "made", duration=0.1),
            step("wait", "met", "held", condition="true"),
        )
    )
    assert run.status is RunStatus.COMPLETED, run.error
    rows = await house.steps(run.id)
    told = [run.started_at]
    for step_id in ("made", "held", "met"):
        told += [rows[step_id].started_at, rows[step_id].completed_at]
    assert told == sorted(time or 0 for time in told)
    events = [event.at for event in await house.events(run.id)]
    assert events == sorted(events)
