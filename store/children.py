"""Runs that are started by a step of another run.

A child is an ordinary run. Its id follows from the step's idempotency key, so that every attempt
finds the same one; what its end and that of its parent mean for the other is in `store.endings`.
"""

from pydantic import JsonValue

from engine.call import StepCall
from engine.catalog import Catalog
from engine.errors import Conflict, StepError
from engine.lifecycle import DefinitionStatus, RunStatus
from store import events, executions, places, runs, workflows
from store.database import Tx
from store.ids import derived_id
from store.runs import NewRun, Parent, RunRow

#: Runs that may have started one another; more of them are a mistake that feeds itself.
LONGEST_CHAIN = 16
_RUNNABLE = frozenset({DefinitionStatus.ACTIVE, DefinitionStatus.DRAFT})


def find(tx: Tx, call: StepCall) -> RunRow | None:
    """The run that the step has started; None when there is none, or it was deleted."""
    return runs.by_id(tx, _id(call))


def start(
    tx: Tx,
    call: StepCall,
    *,
    workflow: str,
    input: dict[str, JsonValue],
    awaited: bool,
    catalog: Catalog,
) -> RunRow:
    """The step's run: accepted, found, or resumed where it has not succeeded and is awaited.

    What the first attempt finds is its own, from before its worker was lost: that one is left as
    it is. Only a later attempt, or a later execution of the parent, resumes.

    Raises:
        StepError: `workflow_not_found`, `workflow_not_runnable`, `run_chain_too_deep`, `run_over`;
            none can be retried.
    """
    # The organisation first, as `store.places` says; then the parent, which must not end meanwhile.
    places.lock_of(tx, call.run)
    try:
        events.append(tx, call.run, [], execution=call.n)
    except Conflict as error:
        raise StepError("run_over", "The run is over.", retryable=False) from error
    child = find(tx, call)
    if child is None:
        return _accept(tx, call, workflow, input, awaited)
    again = call.attempt > 1 or call.n > 1
    if again and awaited and child.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return executions.resume(tx, child.org_id, child.id, None, catalog)
    return child


def _accept(
    tx: Tx, call: StepCall, named: str, input: dict[str, JsonValue], awaited: bool
) -> RunRow:
    parent = runs.by_id(tx, call.run)
    assert parent is not None  # its row is locked
    depth = parent.depth + 1
    if depth >= LONGEST_CHAIN:
        raise StepError(
            "run_chain_too_deep",
            f"Step '{call.step}' would start the run after {depth} that started one another; "
            f"{LONGEST_CHAIN} is the most.",
            retryable=False,
        )
    workflow = workflows.find(tx, parent.org_id, named)
    if workflow is None:
        raise StepError(
            "workflow_not_found", f"Step '{call.step}' names no workflow.", retryable=False
        )
    if workflow.status not in _RUNNABLE:
        raise StepError(
            "workflow_not_runnable",
            f"The workflow that step '{call.step}' names is {workflow.status}.",
            retryable=False,
        )
    return runs.accept(
        tx,
        NewRun(
            org_id=parent.org_id,
            workflow_id=workflow.id,
            workflow_name=workflow.name,
            version=workflow.version,
            surface=parent.surface,
            trigger="workflow",
            input=input,
            id=_id(call),
            parent=Parent(call.run, call.step, call.place, awaited, depth),
        ),
    )


def _id(call: StepCall) -> str:
    return derived_id(call.run, call.key)
