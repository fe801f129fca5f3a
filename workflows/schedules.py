"""What comes before the first step of an execution that a schedule has started.

Temporal starts it by itself, so nobody has written a run before. The run gets the id of the first
Temporal run: a retry or a reset of the execution writes no second one, and a backfill that is
repeated is a new run.
"""

from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from engine.book import Due, DueOpened
from workflows import dispatch
from workflows.contract import RunInput

#: When Temporal was to make the start, whenever it has made it.
_NOMINAL = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
#: Seconds between two looks at whether the run that is in the way is over.
_SOONEST = 2.0
_LATEST = 60.0
#: Looks after which the execution begins anew, with an empty history.
_LOOKS = 200


def due(schedule: str) -> Due:
    """The start that this execution is."""
    info = workflow.info()
    nominal = info.typed_search_attributes.get(_NOMINAL) or info.workflow_start_time
    return Due(
        run=info.first_execution_run_id.replace("-", ""),
        schedule=schedule,
        temporal_id=info.workflow_id,
        at=_micros(nominal),
        began=_micros(info.workflow_start_time),
    )


async def opened(due: Due) -> bool:
    """Whether the start has become a run, once that is decided."""
    pause = _SOONEST
    for _ in range(_LOOKS):
        found = await dispatch.ledger("open_scheduled", due, DueOpened)
        if found.state != "wait":
            return found.state == "open"
        await workflow.sleep(timedelta(seconds=pause))
        pause = min(pause * 1.5, _LATEST)
    workflow.continue_as_new(RunInput(run="", schedule=due.schedule, due=due))


def _micros(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)
