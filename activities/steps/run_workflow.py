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
    """Starts a run of another workflow and waits for its end.

    While it waits the run holds no place (see [the queue](../how-to/queue.md)).

    The run is of the workflow's latest version, which has to be `active` or `draft`. Of several
    workflows with the name an active one is taken, else a draft, and the one that was changed last.
    The event `step_waiting` has the run's id as `child_run_id`.

    A run that failed fails the step, and a retry of the step resumes it where it ended: what it has
    completed is not repeated. So does a resume of the run that waits, also when the other one was
    cancelled.

    Cancelling, terminating or failing the run that waits cancels the other one, and whatever that
    one waits for. A pause leaves it going. A run that is not waited for is left alone. Sixteen runs
    may start one another, the first one counted.

    The step's time is that of starting the run or of looking at it once; the wait has no end.
    """

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


STEP = StepType(
    config=Config,
    run=run,
    output='the output of the run; with `"wait": false` at once `{"run_id": "run_…"}`.',
    errors="`workflow_not_found`, `workflow_not_runnable`, `workflow_is_batch`, `input_invalid`, "
    "`run_chain_too_deep`, `child_cancelled`, `child_deleted` (none of them retried), and "
    "`child_failed`.",
    lane="short",
    per_entity=False,
)
