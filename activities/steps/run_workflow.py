"""`run_workflow`: start a run of another workflow, and wait for its end or not.

Source: DESIGN §4 and §8, decision 0010. While it waits the run needs no place. The end of the child
wakes the step; asking every `ASK` seconds repairs what is lost.
"""

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from activities.clients.runs import Child
from engine.errors import StepError
from engine.lifecycle import RunStatus
from engine.outcomes import Await, Done

#: Seconds between two askings; not less than `engine.parking.PARK`, so that the run parks at once.
ASK = 15.0


class Config(StepConfig):
    """Which workflow, with what."""

    workflow: str = Field(
        min_length=1, max_length=200, description="The id of a workflow, or its exact name."
    )
    input: dict[str, JsonValue] = Field(default={}, description="What the run is started with.")
    wait: bool = Field(default=True, description="Whether the step waits for the end of the run.")


async def run(config: Config, context: StepContext) -> Done | Await:
    """Start the run or look at it; the output is the run's own, or its id when nobody waits."""
    runs, call = context.clients.runs, context.call
    if call.poll:
        child = await runs.look(call)
    else:
        child = await runs.start(call, config.workflow, config.input, awaited=config.wait)
    if child is None:
        raise StepError(
            "child_deleted",
            f"The run that step '{context.step}' waits for was deleted.",
            retryable=False,
        )
    if not config.wait:
        return Done(output={"run_id": f"run_{child.id}"})
    return _told(child)


def _told(child: Child) -> Done | Await:
    match child.status:
        case RunStatus.COMPLETED:
            return Done(output=child.output)
        case RunStatus.FAILED:
            told = child.error or {}
            raise StepError(
                "child_failed",
                f"Run run_{child.id} failed: {told.get('message', 'no reason recorded')}",
            )
        case RunStatus.CANCELLED:
            # Somebody wanted that: only an operator's resume takes it up again.
            raise StepError(
                "child_cancelled", f"Run run_{child.id} was cancelled.", retryable=False
            )
        case _:
            return Await(interval=ASK, child=child.id)


STEP = StepType(config=Config, run=run, lane="short")
