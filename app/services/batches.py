"""Batches: a workflow is started over a list of entities, or over those that have failed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from app.services.acceptance import accepted, held, require_fitting
from app.services.auth import Caller
from app.services.dispatch import Dispatch
from app.services.once import Answered, Once
from app.services.versions import Versions
from engine.batch import MOST_LANES, OnBudget
from engine.errors import Conflict, Invalid, NotFound, Problem
from engine.lifecycle import TERMINAL
from engine.records import PREFIXES
from store import batches, entities, entity_types, lanes, retries, runs
from store.batches import NewBatch
from store.database import Database, Tx
from store.entity_types import TypeRow
from store.runs import NewRun, RunRow
from store.workflows import WorkflowRow

#: Bytes of the body of a request that starts a batch, and values in it: 100,000 ids and an input.
LARGEST_LIST = 8 << 20
LIST_NODES = 150_000

_NOT_FOR_ENTITIES = (
    "The workflow is not for entities: its definition has no entity_type. "
    "POST /api/workflows/{id}/run starts it."
)


@dataclass(frozen=True)
class Budget:
    """How many entities may fail before nothing more begins: so many, or a share of all of them."""

    most: int | None = None
    percent: float | None = None
    on_exceeded: OnBudget = "stop"

    def of(self, total: int) -> int | None:
        """How many that are of so many.

        >>> Budget(percent=0.5).of(1_000), Budget(percent=0.5).of(10), Budget(most=3).of(10)
        (5, 1, 3)
        """
        if self.percent is None:
            return self.most
        return max(1, math.ceil(total * Fraction(str(self.percent)) / 100))


@dataclass(frozen=True)
class StartBatch:
    """What a batch is started with.

    Attributes:
        entity_ids: as they were written; repeats count once.
        all_entities: instead of those, all of the workflow's type.
        concurrency: entities that may be under way at the same time.
    """

    workflow_id: str
    entity_ids: Sequence[str]
    all_entities: bool
    concurrency: int
    input: dict[str, Any]
    budget: Budget


@dataclass(frozen=True)
class Again:
    """Which batch is retried; `concurrency` and `budget` are its own where they are None."""

    run_id: str
    concurrency: int | None = None
    budget: Budget | None = None


class Batches:
    """The batches of every organisation, each through its callers."""

    def __init__(self, database: Database, dispatch: Dispatch, versions: Versions) -> None:
        self._database = database
        self._dispatch = dispatch
        self._versions = versions

    async def start(
        self,
        caller: Caller,
        wanted: StartBatch,
        once: Once | None,
        answer: Callable[[RunRow], Answered],
    ) -> Answered:
        """Accept a batch and dispatch it; answers at once, also while Temporal is away.

        Args:
            caller: whose workflow and entities they are.
            wanted: what to run over what.
            once: when given, the same key within 24 h gets the first answer again.
            answer: makes the answer, which is kept in the same transaction as the batch.

        Raises:
            NotFound: there is no such workflow.
            Conflict: it is paused or archived, or not for entities.
            Invalid: there are too many ids, some are no entities of its type (it names them), the
                input does not fit its `input_schema`, or the key came before with another body
                (`idempotency_key_reused`).
        """

        def accept(tx: Tx, fits: int | None) -> RunRow:
            workflow = held(tx, caller.org_id, wanted.workflow_id)
            kind = self._kind(tx, workflow, wanted.input, fits)
            places = _places(tx, wanted, kind)
            new = NewBatch(
                type_id=kind.id,
                entity_ids=[*places],
                concurrency=wanted.concurrency,
                max_failures=wanted.budget.of(len(places)),
                on_budget=wanted.budget.on_exceeded,
            )
            run = _new_run(workflow, wanted.input)
            if wanted.all_entities:
                return batches.add(tx, run, new)
            return batches.accept(tx, run, new, places)

        return await accepted(self._database, self._dispatch, caller.org_id, once, answer, accept)

    async def retry(
        self,
        caller: Caller,
        again: Again,
        once: Once | None,
        answer: Callable[[RunRow], Answered],
    ) -> Answered:
        """Start a batch of the entities that have failed in an earlier one, with its options.

        It is of the newest version of the workflow, and without entities that were deleted; `once`
        and `answer` are as above.

        Raises:
            NotFound: there is no such run.
            Conflict: it is no batch or not over, an earlier retry of it is not over, none of its
                entities has failed and is still there, or the workflow is deleted, paused, archived
                or for entities of another type by now.
            Invalid: the input does not fit the newest `input_schema`, or the key came before with
                another body.
        """

        def accept(tx: Tx, fits: int | None) -> RunRow:
            run_id = again.run_id
            run = runs.get(tx, caller.org_id, run_id)
            # Held, so that of two who ask at the same time the second finds the first.
            before = batches.lock(tx, run_id)
            if before is None:
                raise Conflict("The job is not one over entities, so there are none to retry.")
            if run.status not in TERMINAL:
                raise Conflict("The job is not over, so more of its entities may fail yet.")
            if earlier := retries.unfinished(tx, run):
                raise Conflict(f"It is retried by job {earlier} already, which is not over.")
            failed = lanes.failed(tx, run_id)
            if not failed:
                raise Conflict("None of the entities of the job has failed.")
            there = batches.there(tx, run.org_id, before.type_id, failed)
            if not there:
                raise Conflict("All entities that have failed in the job were deleted.")
            try:
                workflow = held(tx, caller.org_id, run.workflow_id)
            except NotFound as error:
                raise Conflict("The workflow of the job was deleted.") from error
            if self._kind(tx, workflow, run.input, fits).id != before.type_id:
                raise Conflict("The workflow is for entities of another type by now.")
            budget = again.budget or Budget(before.max_failures, None, before.on_budget)
            new = NewBatch(
                type_id=before.type_id,
                entity_ids=there,
                concurrency=again.concurrency or before.concurrency,
                max_failures=budget.of(len(there)),
                on_budget=budget.on_exceeded,
                retry_of=run_id,
            )
            return batches.add(tx, _new_run(workflow, run.input), new)

        return await accepted(self._database, self._dispatch, caller.org_id, once, answer, accept)

    def _kind(
        self, tx: Tx, workflow: WorkflowRow, wanted: dict[str, Any], fits: int | None
    ) -> TypeRow:
        """The type of the entities that the workflow is for, whose input is seen to as well.

        Raises:
            Conflict: it is for none, or the type was deleted.
        """
        version = self._versions.get(tx, workflow.id, workflow.version)
        if version.entity_type is None:
            raise Conflict(_NOT_FOR_ENTITIES)
        require_fitting(workflow, version, wanted, fits, path="input")
        try:
            return entity_types.get(tx, workflow.org_id, version.entity_type)
        except NotFound as error:
            raise Conflict("The type of the workflow's entities was deleted.") from error


def _new_run(workflow: WorkflowRow, wanted: dict[str, Any]) -> NewRun:
    return NewRun(
        org_id=workflow.org_id,
        workflow_id=workflow.id,
        workflow_name=workflow.name,
        version=workflow.version,
        surface="entity_batches",
        trigger="api",
        input=wanted,
    )


def _places(tx: Tx, wanted: StartBatch, kind: TypeRow) -> dict[str, int]:
    """The distinct ids without the prefix of their type, and where each stands first.

    Raises:
        Invalid: there are too many or none, or it is not said which are wanted.
    """
    if bool(wanted.entity_ids) is wanted.all_entities:
        raise _invalid("Give either entityIds or allEntities: true.", "entityIds")
    places: dict[str, int] = {}
    if wanted.all_entities:
        found = entities.ids(tx, kind.org_id, kind.id, MOST_LANES + 1)
        places = {entity_id: place for place, entity_id in enumerate(found)}
        if not places:
            raise _invalid(f"There are no entities of type {kind.name}.", "allEntities")
    prefix = PREFIXES.get(kind.name, "")
    for place, written in enumerate(wanted.entity_ids):
        places.setdefault(written.removeprefix(prefix), place)
    if len(places) > MOST_LANES:
        count = "more" if wanted.all_entities else f"{len(places):,}"
        where = "allEntities" if wanted.all_entities else "entityIds"
        raise _invalid(f"A job has at most {MOST_LANES:,} entities, and not {count}.", where)
    return places


def _invalid(message: str, where: str) -> Invalid:
    return Invalid(message, problems=[Problem(message, path=where)])
