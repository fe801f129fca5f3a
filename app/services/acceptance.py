"""How a run is accepted: by one transaction, and dispatched after it.

Whatever is lost in between, the sweeper does again.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from app.services.dispatch import Dispatch
from app.services.failpoints import failpoint
from app.services.once import Answered, Once, keep, recall
from app.services.versions import Version, Versions
from engine.errors import Conflict, Invalid
from engine.lifecycle import DefinitionStatus
from engine.schema import INPUT, check_input
from store import workflows
from store.database import Database, Tx
from store.runs import RunRow
from store.workflows import WorkflowRow

#: Workflows that may be run by hand; contracts C-q4.
_RUNNABLE = frozenset({DefinitionStatus.ACTIVE, DefinitionStatus.DRAFT})
#: What is said of a workflow for entities that is to be run without any.
FOR_ENTITIES = (
    "The workflow is for entities: POST /api/v1/workflows/{id}/run starts it, with their ids."
)
#: The code of that.
IS_BATCH = "workflow_is_batch"

#: Writes the run in a transaction; given the version whose schema its input is known to fit.
Accept = Callable[[Tx, int | None], RunRow]


class _UncheckedError(Exception):
    """The input has to fit a schema and was not compared with it yet."""

    def __init__(
        self, version: int, schema: dict[str, Any], wanted: dict[str, Any], path: str
    ) -> None:
        super().__init__(version)
        self.version = version
        self.schema = schema
        self.input = wanted
        self.path = path


async def accepted(
    database: Database,
    dispatch: Dispatch,
    org_id: str,
    once: Once | None,
    answer: Callable[[RunRow], Answered],
    accept: Accept,
) -> Answered:
    """Accept a run and dispatch it; answers at once, also while Temporal is away.

    Args:
        database: where it is written.
        dispatch: who tells Temporal.
        org_id: whose run it is.
        once: when given, the same key within 24 h gets the first answer again.
        answer: makes the answer, which is kept in the same transaction as the run.
        accept: writes the run.

    Raises:
        Invalid: the input does not fit the workflow's `input_schema`, or the key came before with
            another body (`idempotency_key_reused`).
    """
    fits: int | None = None
    while True:
        try:
            work = partial(_begin, org_id, once, answer, accept, fits)
            answered, run = await database.write(work)
            break
        except _UncheckedError as unchecked:
            # Outside of the transaction, which would keep all other writers waiting.
            problems = await asyncio.to_thread(
                check_input, unchecked.schema, unchecked.input, unchecked.path
            )
            if problems:
                message = "The input does not fit the input_schema of the workflow."
                raise Invalid(message, problems=problems) from None
            fits = unchecked.version
    failpoint("accept.after_commit")
    if run is not None:
        await dispatch.attempt(run)
        failpoint("accept.after_dispatch")
    return answered


def _begin(
    org_id: str,
    once: Once | None,
    answer: Callable[[RunRow], Answered],
    accept: Accept,
    fits: int | None,
    tx: Tx,
) -> tuple[Answered, RunRow | None]:
    """The earlier answer of the key, or a new run."""
    if earlier := recall(tx, org_id, once):
        return earlier, None
    run = accept(tx, fits)
    answered = answer(run)
    keep(tx, org_id, once, answered)
    failpoint("accept.before_commit")
    return answered, run


def held(tx: Tx, org_id: str, workflow_id: str) -> WorkflowRow:
    """The workflow, held as `store.workflows` says, for a run to be started by hand.

    Raises:
        NotFound: there is no such workflow.
        Conflict: it is paused or archived.
    """
    workflow = workflows.hold(tx, org_id, workflow_id)
    if workflow.status not in _RUNNABLE:
        raise Conflict(f"The workflow is {workflow.status} and cannot be run.")
    return workflow


def require_fitting(
    workflow: WorkflowRow,
    version: Version,
    wanted: dict[str, Any],
    fits: int | None,
    path: str = INPUT,
) -> None:
    """See to it that the input was compared with the schema of the workflow's version.

    Args:
        workflow: the workflow.
        version: its newest version.
        wanted: the input.
        fits: the version whose schema it is known to fit.
        path: where the request has it.
    """
    if version.input_schema is not None and fits != workflow.version:
        raise _UncheckedError(workflow.version, version.input_schema, wanted, path)


def require_plain(versions: Versions, tx: Tx, workflow: WorkflowRow) -> Version:
    """The workflow's version, whose runs are for no entities.

    Raises:
        Conflict: they are (`workflow_is_batch`).
    """
    version = versions.get(tx, workflow.id, workflow.version)
    if version.entity_type is not None:
        raise Conflict(FOR_ENTITIES, code=IS_BATCH)
    return version
