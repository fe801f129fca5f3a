"""Assessments: begun from outside, with a workflow or without, read and deleted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from app.services.acceptance import FOR_ENTITIES, IS_BATCH
from app.services.aftermath import Aftermath
from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.named_runs import enabled, require_possible
from app.services.once import Answered, Once, keep, recall
from engine.errors import Conflict, Invalid
from engine.records import bare_id, spelled_id
from store import assessments, latest, publishing, runs
from store.assessments import AssessmentRow, NewAssessment
from store.database import Database, Tx
from store.ids import derived_id, new_id
from store.publishing import NewEvent, Verdicts
from store.runs import NewRun, RunRow
from store.workflows import WorkflowRow


class Refused(Invalid):
    """What the assessment is to be about is not there."""


@dataclass(frozen=True)
class Wanted:
    """An assessment that is asked for; ids as they were written.

    Attributes:
        workflow: the name of a workflow that is started with it.
    """

    vendor_id: str
    control_set_ids: Sequence[str]
    name: str | None = None
    service_ids: Sequence[str] = ()
    supporting_document_ids: Sequence[str] = ()
    assignee_id: str | None = None
    workflow: str | None = None


class Assessments:
    """The assessments of every organisation, each through its callers."""

    def __init__(self, database: Database, dispatch: Dispatch, aftermath: Aftermath) -> None:
        self._database = database
        self._dispatch = dispatch
        self._aftermath = aftermath

    async def create(
        self,
        caller: Caller,
        wanted: Wanted,
        once: Once | None,
        answer: Callable[[AssessmentRow], Answered],
    ) -> Answered:
        """Begin an assessment, and start the workflow that is named, in one transaction.

        Args:
            caller: whose it is.
            wanted: what to make.
            once: when given, the same key within 24 h makes nothing and gets the first answer.
            answer: makes the answer, which is kept in the same transaction.

        Raises:
            NotFound: there is no such workflow.
            Conflict: the workflow is not active, or for entities (`workflow_is_batch`).
            Refused: there is no such vendor or service.
        """
        if wanted.workflow is not None:
            require_possible(wanted.workflow)
        # Made here, so that they are the same each time that it is judged.
        new = NewAssessment(
            id=new_id(),
            event_id=new_id(),
            vendor_id=bare_id("Vendor", wanted.vendor_id) or "-",
            name=wanted.name,
            control_set_ids=wanted.control_set_ids,
            service_ids=[bare_id("Service", one) or "-" for one in wanted.service_ids],
            supporting_document_ids=wanted.supporting_document_ids,
            assignee_id=wanted.assignee_id,
        )
        answered, started = await publishing.publishing(
            self._database, partial(_create, caller.org_id, wanted.workflow, new, once, answer)
        )
        await self._aftermath.follow(started)
        return answered

    async def get(self, caller: Caller, assessment_id: str) -> AssessmentRow:
        """The assessment, also a deleted one.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        return await self._database.read(
            lambda tx: assessments.get(tx, caller.org_id, assessment_id)
        )

    async def page(
        self, caller: Caller, limit: int, offset: int
    ) -> tuple[list[AssessmentRow], int]:
        """Those that were not deleted, newest first, and how many there are in all."""
        return await self._database.read(
            lambda tx: assessments.page(tx, caller.org_id, limit=limit, offset=offset)
        )

    async def delete(self, caller: Caller, assessment_id: str) -> AssessmentRow:
        """Delete it and cancel its live runs; twice is as good as once.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """
        row, cancelled = await self._database.write(
            lambda tx: assessments.archive(tx, caller.org_id, assessment_id)
        )
        await self._dispatch.tell(cancelled)
        return row


def _create(
    org_id: str,
    workflow_name: str | None,
    new: NewAssessment,
    once: Once | None,
    answer: Callable[[AssessmentRow], Answered],
    tx: Tx,
    verdicts: Verdicts,
) -> tuple[Answered, list[RunRow]]:
    """The earlier answer of the key, or a new assessment with the runs to dispatch."""
    if earlier := recall(tx, org_id, once):
        return earlier, []
    workflow = None if workflow_name is None else enabled(tx, org_id, workflow_name)
    if workflow is not None and latest.entity_type(tx, workflow) is not None:
        raise Conflict(FOR_ENTITIES, code=IS_BATCH)
    depth = publishing.depth_of(tx, org_id, once.key if once else None)
    try:
        event = assessments.prepare(tx, org_id, new, depth)
    except Invalid as error:
        raise Refused(error.message, code=error.stable_code) from error
    run = None if workflow is None else _start(tx, workflow, new, event)
    row, started = assessments.create(tx, org_id, new, event, verdicts, run.id if run else None)
    if run is not None and run.id not in {other.id for other in started}:
        started.append(run)
    answered = answer(row)
    keep(tx, org_id, once, answered)
    return answered, started


def _start(tx: Tx, workflow: WorkflowRow, new: NewAssessment, event: NewEvent) -> RunRow:
    """The run of the workflow that was named.

    It is the one that the event would start, so that a workflow which is bound to it as well has
    one run and not two.
    """
    told: dict[str, JsonValue] = {
        "assessment_id": spelled_id("Assessment", new.id),
        "vendor_id": spelled_id("Vendor", new.vendor_id),
        "control_set_ids": [*new.control_set_ids],
        "service_ids": [spelled_id("Service", one) for one in new.service_ids],
    }
    return runs.accept(
        tx,
        NewRun(
            id=derived_id(event.id, f"{event.id}/{workflow.id}"),
            org_id=workflow.org_id,
            workflow_id=workflow.id,
            workflow_name=workflow.name,
            version=workflow.version,
            surface="run_by_name",
            trigger="api",
            input={**event.input, **told},
            event_id=event.id,
            depth=event.depth,
        ),
    )
