"""The first path through the whole house."""

from engine.lifecycle import RunStatus, StepStatus
from tests.house import House
from tests.receiver import Receiver


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
