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
from store.values import decode_object
from store.workflows import WorkflowRow

#: Runs that may have started one another; more of them are a mistake that feeds itself.
LONGEST_CHAIN = 16
_RUNNABLE = frozenset({DefinitionStatus.ACTIVE, DefinitionStatus.DRAFT})


class UncheckedInput(Exception):
    """The input has to fit this schema of this version, and was not compared with it yet.

    That takes its time, which no transaction has.
    """

    def __init__(self, version: int, schema: dict[str, JsonValue]) -> None:
        super().__init__(version)
        self.version = version
        self.schema = schema


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
    fits: int | None = None,
) -> RunRow:
    """The step's run: accepted, found, or resumed where it has not succeeded and is awaited.

    What the first attempt finds is its own, from before its worker was lost: that one is left as
    it is. Only a later attempt, or a later execution of the parent, resumes.

    Args:
        tx: The transaction.
        call: The step that starts the run.
        workflow: The id or the exact name of what is to be run.
        input: What it starts with.
        awaited: The step waits for its end.
        catalog: The step types.
        fits: The version of the workflow whose `input_schema` the input is known to fit.

    Raises:
        UncheckedInput: the input has to be compared with a schema first.
        StepError: `workflow_not_found`, `workflow_not_runnable`, `workflow_is_batch`,
            `run_chain_too_deep`, `run_over`; none can be retried.
    """
    named = _held(tx, call, workflow) if find(tx, call) is None else None
    # The organisation, as `store.places` says; then the parent, which must not end meanwhile.
    places.lock_of(tx, call.run)
    try:
        events.append(tx, call.run, [], execution=call.n)
    except Conflict as error:
        raise StepError("run_over", "The run is over.", retryable=False) from error
    child = find(tx, call)
    if child is None:
        return _accept(tx, call, named, input, awaited, fits)
    again = call.attempt > 1 or call.n > 1
    if again and awaited and child.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return executions.resume(tx, child.org_id, child.id, None, catalog)
    return child


def _held(tx: Tx, call: StepCall, named: str) -> WorkflowRow | None:
    """The workflow, held as `store.workflows` says; before anything else is locked."""
    parent = runs.by_id(tx, call.run)
    found = None if parent is None else workflows.find(tx, parent.org_id, named)
    return None if found is None else workflows.held(tx, found.org_id, found.id)


def _accept(
    tx: Tx,
    call: StepCall,
    workflow: WorkflowRow | None,
    input: dict[str, JsonValue],
    awaited: bool,
    fits: int | None,
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
    definition = decode_object(workflows.definition_text(tx, workflow.id, workflow.version))
    if definition.get("entity_type") is not None:
        raise StepError(
            "workflow_is_batch",
            f"The workflow that step '{call.step}' names is for entities, and no step starts it: "
            "POST /api/v1/workflows/{id}/run does, with their ids.",
            retryable=False,
        )
    schema = definition.get("input_schema")
    if isinstance(schema, dict) and fits != workflow.version:
        raise UncheckedInput(workflow.version, schema)
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
