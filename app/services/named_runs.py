"""Runs that are started by the name of their workflow, and looked at by whoever started them.

A start is accepted by one transaction and dispatched after it, as in `app.services.runs`. Here the
caller learns when the dispatch has failed, and may send the same key again: it finishes the same
run. The input is not compared with the workflow's `input_schema`: the published API does not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.services.acceptance import require_plain
from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.failpoints import failpoint
from app.services.once import Answered, Once, keep, recall
from app.services.versions import Versions
from engine.errors import Conflict, NotFound, Unavailable
from engine.lifecycle import DefinitionStatus, RunStatus
from engine.outline import Outline
from store import executed, runs, workflows
from store.database import Database, Tx
from store.executed import Executed
from store.runs import NewRun, RunHead, RunRow, Wanted
from store.workflows import WorkflowRow

#: Characters of a name; nothing longer has ever been given to a workflow.
_LONGEST_NAME = 200


class Undispatched(Unavailable):
    """The run was accepted and could not be given to Temporal."""

    code = "workflow_dispatch_failed"

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


@dataclass(frozen=True)
class NamedRun:
    """A run with the steps that it has executed.

    Attributes:
        name: what its workflow is called now; None when that was deleted.
        steps: as `store.executed.steps_of` lists them.
        outlines: the steps of its version, those of loop bodies included, by id.
    """

    row: RunRow
    name: str | None
    steps: Sequence[Executed]
    outlines: Mapping[str, Outline]


@dataclass(frozen=True)
class NamedRuns:
    """Some runs, newest first, and how many there are in all.

    Attributes:
        names: of those of their workflows that were not deleted, by id.
        steps: how many steps each has executed, by id.
    """

    rows: Sequence[RunHead]
    total: int
    names: Mapping[str, str]
    steps: Mapping[str, int]


class ByName:
    """Starts and shows runs to callers who know their workflows by name."""

    def __init__(self, database: Database, dispatch: Dispatch, versions: Versions) -> None:
        self._database = database
        self._dispatch = dispatch
        self._versions = versions

    async def start(
        self,
        caller: Caller,
        name: str,
        wanted: dict[str, Any],
        once: Once | None,
        answer: Callable[[RunRow], Answered],
    ) -> Answered:
        """Accept a run and dispatch it.

        Args:
            caller: whose workflow it is.
            name: the exact name of the workflow.
            wanted: the input, of which nothing is asked.
            once: when given, the same key within 24 h gets the same run and the first answer again.
            answer: makes the answer, which is kept in the same transaction as the run.

        Raises:
            NotFound: there is no such workflow.
            Conflict: it is not active, or for entities (`workflow_is_batch`).
            Undispatched: Temporal does not answer. The run stays queued and the sweeper starts it;
                so does the same key.
        """
        require_possible(name)

        def work(tx: Tx) -> tuple[Answered, RunRow | None]:
            if earlier := recall(tx, caller.org_id, once):
                return earlier, runs.by_id(tx, earlier.made)
            workflow = enabled(tx, caller.org_id, name)
            require_plain(self._versions, tx, workflow)
            run = runs.accept(
                tx,
                NewRun(
                    org_id=caller.org_id,
                    workflow_id=workflow.id,
                    workflow_name=workflow.name,
                    version=workflow.version,
                    surface="run_by_name",
                    trigger="api",
                    input=wanted,
                ),
            )
            answered = answer(run)
            keep(tx, caller.org_id, once, answered)
            failpoint("accept.before_commit")
            return answered, run

        answered, run = await self._database.write(work)
        failpoint("accept.after_commit")
        if run is not None and run.status is RunStatus.QUEUED and run.dispatched_at is None:
            if not await self._dispatch.attempt(run):
                raise Undispatched(run.id)
            failpoint("accept.after_dispatch")
        return answered

    async def view(self, caller: Caller, run_id: str) -> NamedRun:
        """The run and its steps, as they are at one moment.

        Raises:
            NotFound: there is none of this id in the caller's organisation.
        """

        def work(tx: Tx) -> NamedRun:
            try:
                row = runs.get(tx, caller.org_id, run_id)
            except NotFound as error:
                raise NotFound("Workflow run not found.", code="workflow_run_not_found") from error
            return NamedRun(
                row,
                workflows.names(tx, {row.workflow_id}).get(row.workflow_id),
                executed.steps_of(tx, row),
                flat(self._versions.get(tx, row.workflow_id, row.version).steps),
            )

        return await self._database.read(work)

    async def page(
        self, caller: Caller, name: str | None, wanted: Wanted, limit: int, offset: int
    ) -> NamedRuns:
        """Runs of the organisation, or of its workflows of this name.

        Raises:
            NotFound: there is no workflow of this name.
        """
        if name is not None:
            require_possible(name)

        def work(tx: Tx) -> NamedRuns:
            ids = None if name is None else workflows.ids_named(tx, caller.org_id, name)
            if name is not None and not ids:
                raise not_found(name)
            rows, total = runs.page(
                tx, caller.org_id, replace(wanted, workflow_ids=ids), limit=limit, offset=offset
            )
            return NamedRuns(
                rows,
                total,
                workflows.names(tx, {row.workflow_id for row in rows}),
                executed.counts(tx, [row.id for row in rows]),
            )

        return await self._database.read(work)


def enabled(tx: Tx, org_id: str, name: str, *, archived: str = "workflow_disabled") -> WorkflowRow:
    """The workflow of this name, held as `store.workflows` says, for a run to be started.

    Raises:
        NotFound: there is none.
        Conflict: it is not active; `archived` is the code when that is what it is.
    """
    while (found := workflows.named(tx, org_id, name)) is not None:
        held = workflows.held(tx, org_id, found.id)
        if held is None or held.name != name:
            # Deleted or renamed between the two statements.
            continue
        if held.status == DefinitionStatus.ACTIVE:
            return held
        code = archived if held.status == DefinitionStatus.ARCHIVED else "workflow_disabled"
        raise Conflict(f"Workflow '{name}' is {code.removeprefix('workflow_')}.", code=code)
    raise not_found(name)


def require_possible(name: str) -> None:
    """Refuse a name that no workflow can have, and that a database might not take.

    Raises:
        NotFound: it is such a name.
    """
    if not name or len(name) > _LONGEST_NAME or "\0" in name:
        raise not_found(name)


def not_found(name: str) -> NotFound:
    """There is no workflow of this name; the published message says which."""
    return NotFound(f"Workflow '{name}' not found.", code="workflow_not_found")


def flat(steps: Sequence[Outline]) -> dict[str, Outline]:
    """The steps and those of the bodies of loops among them, by id."""
    found: dict[str, Outline] = {}
    for step in steps:
        found[step.step_id] = step
        found |= flat(step.body)
    return found
