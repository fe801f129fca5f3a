"""Publishing: the one way in which an event comes into being, with the runs that it starts.

An event, the record that it tells of, the runs that it starts and whatever it wakes are one
transaction. Conditions and schemas are judged outside of it, as that takes its time: `publish`
raises `Unjudged` for what nobody has looked at, and `publishing` looks and tries again.

    await publishing(database, lambda tx, verdicts: publish(tx, org, [event], verdicts))

Lock order on PostgreSQL: the type of a record, the record, workflows by id, waits (see
`store.waits`), organisation, runs. So whoever publishes does it before it locks an organisation or
a run. Source: DESIGN §2, §8.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple, TypeVar

from pydantic import JsonValue

from engine.conditions import holds
from engine.errors import Problem, Unavailable
from engine.expressions import ExpressionError
from engine.facts import Failure
from engine.lifecycle import RunStatus
from engine.matching import Happening
from engine.schema import check_input
from store import endings, runs, triggers, waits
from store.children import LONGEST_CHAIN
from store.clock import now
from store.database import Database, Tx
from store.ids import derived_id, new_id
from store.record_tables import published_events
from store.runs import NewRun, RunRow
from store.triggers import Bound
from store.values import encode

log = logging.getLogger("signalbox.events")
T = TypeVar("T")

#: Characters of an id.
_ID = 32
#: Problems with an input that the error of its run tells.
_TOLD = 5


@dataclass(frozen=True)
class Subject:
    """The record that an event is about, as it is by then."""

    id: str
    type: str
    fields: dict[str, JsonValue]


@dataclass(frozen=True)
class NewEvent:
    """An event to publish.

    Attributes:
        depth: how many runs led to it; 0 from outside.
        id: given by who may have to publish it again after `Unjudged`.
    """

    name: str
    data: dict[str, JsonValue]
    subject: Subject | None = None
    depth: int = 0
    id: str = field(default_factory=new_id)

    @property
    def event(self) -> dict[str, JsonValue]:
        """What expressions and inputs know as `event`."""
        return {"id": f"cbevt_{self.id}", "name": self.name, "data": self.data}

    @property
    def entity(self) -> dict[str, JsonValue] | None:
        """What they know as `entity`; None where the event is about no record."""
        if self.subject is None:
            return None
        return {"id": self.subject.id, "type": self.subject.type, "fields": self.subject.fields}

    @property
    def happening(self) -> Happening:
        """What waits are compared with."""
        return Happening(f"cbevt_{self.id}", self.name, self.data, self.entity)

    @property
    def input(self) -> dict[str, JsonValue]:
        """What a run starts with that it starts."""
        return {"event": self.event, "entity": self.entity}

    @cached_property
    def data_text(self) -> str:
        """The data, as it is kept."""
        return encode(self.data)

    @cached_property
    def fields_text(self) -> str | None:
        """The fields of the record, as they are kept."""
        return None if self.subject is None else encode(self.subject.fields)


class Case(NamedTuple):
    """A workflow and an event that may start it."""

    bound: Bound
    event: NewEvent

    @property
    def key(self) -> tuple[str | None, ...]:
        """The same for what is judged in the same way."""
        workflow, event = self.bound.workflow, self.event
        return workflow.id, workflow.revision, event.id, event.data_text, event.fields_text


class Verdict(NamedTuple):
    """Whether the conditions hold, why that cannot be said, and how the input does not fit."""

    holds: bool
    error: str | None = None
    problems: Sequence[Problem] = ()


class Unjudged(Exception):
    """Whether these events start these workflows was not looked at yet."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__(len(cases))
        self.cases = cases


class Verdicts:
    """What is known of events and the workflows that they may start.

    Attributes:
        failures: why workflows were not started that should have been: event id and message, by
            the workflow's id.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, ...], Verdict] = {}
        self.failures: dict[str, tuple[str, str]] = {}

    def judge(self, cases: Iterable[Case]) -> None:
        """Evaluate the conditions and look at the inputs; takes its time."""
        for case in cases:
            self._known[case.key] = _judged(case)

    def of(self, case: Case) -> Verdict | None:
        """The verdict; None when there is none yet."""
        return self._known.get(case.key)


def _judged(case: Case) -> Verdict:
    trigger, schema, event = case.bound.workflow.trigger, case.bound.input_schema, case.event
    assert trigger is not None
    try:
        if not holds(trigger.conditions, event.event, event.entity):
            return Verdict(False)
    except ExpressionError as error:
        return Verdict(False, str(error))
    return Verdict(True, problems=check_input(schema, event.input) if schema is not None else ())


async def publishing(database: Database, work: Callable[[Tx, Verdicts], T]) -> T:
    """What the work answers, once its transaction is committed with all that it publishes.

    Args:
        database: Where.
        work: Does what `Database.write` says, and calls `publish`.

    Raises:
        Unavailable: The database does not answer.
    """
    verdicts = Verdicts()
    while True:
        try:
            answer = await database.write(partial(_with, work, verdicts))
            break
        except Unjudged as unjudged:
            await asyncio.to_thread(verdicts.judge, unjudged.cases)
    if verdicts.failures:
        with suppress(Unavailable):
            await database.write(partial(triggers.note_failures, failures=dict(verdicts.failures)))
    return answer


def _with(work: Callable[[Tx, Verdicts], T], verdicts: Verdicts, tx: Tx) -> T:
    return work(tx, verdicts)


def depth_of(tx: Tx, org_id: str, key: str | None) -> int:
    """How many runs led to a request: one more than to the run whose step has made it.

    Steps that reach outside send their idempotency key, which begins with the id of their run. So a
    workflow that starts itself over HTTP is found out as well.

    Args:
        tx: The transaction.
        org_id: Whose request it is.
        key: The `Idempotency-Key` that it came with.
    """
    run_id, slash, _ = (key or "").partition("/")
    run = runs.by_id(tx, run_id) if slash and len(run_id) == _ID else None
    return run.depth + 1 if run is not None and run.org_id == org_id else 0


def publish(tx: Tx, org_id: str, events: Sequence[NewEvent], verdicts: Verdicts) -> list[RunRow]:
    """Write the events and accept the runs that they start; those runs, which are to be dispatched.

    Only active workflows are started, each once by an event. A run whose input does not fit the
    `input_schema` is written as well, and has failed.

    Raises:
        Unjudged: Somebody has to judge first; nothing was written.
    """
    bound = triggers.bound(tx, org_id, {event.name for event in events})
    cases = [Case(one, event) for event in events for one in bound.get(event.name, ())]
    missing = [case for case in cases if verdicts.of(case) is None]
    if missing:
        raise Unjudged(missing)
    at = now()
    tx.execute(
        published_events.insert(),
        [
            {
                "id": event.id,
                "org_id": org_id,
                "name": event.name,
                "data": event.data_text,
                "entity_id": event.subject.id if event.subject else None,
                "entity_type": event.subject.type if event.subject else None,
                "entity_fields": event.fields_text,
                "depth": event.depth,
                "created_at": at,
            }
            for event in events
        ],
    )
    waits.match(tx, org_id, {event.id: event.happening for event in events})
    started = [_start(tx, case, verdicts) for case in cases]
    return [run for run in started if run is not None]


def _start(tx: Tx, case: Case, verdicts: Verdicts) -> RunRow | None:
    """The run that the event starts; None when it starts none, or one that has failed already."""
    workflow, event, verdict = case.bound.workflow, case.event, verdicts.of(case)
    assert verdict is not None
    if verdict.error is not None:
        _fail(verdicts, case, f"The conditions could not be evaluated: {verdict.error}")
    if not verdict.holds:
        return None
    if event.depth >= LONGEST_CHAIN:
        _fail(verdicts, case, f"{event.depth} runs led to the event; {LONGEST_CHAIN} is the most.")
        return None
    run = runs.accept(
        tx,
        NewRun(
            id=derived_id(event.id, f"{event.id}/{workflow.id}"),
            org_id=workflow.org_id,
            workflow_id=workflow.id,
            workflow_name=workflow.name,
            version=workflow.version,
            surface="run_by_name",
            trigger="event",
            input=event.input,
            event_id=event.id,
            depth=event.depth,
        ),
    )
    if not verdict.problems:
        return run
    _fail(verdicts, case, "The input does not fit the input_schema; the run has failed.")
    told = "; ".join(problem.message for problem in verdict.problems[:_TOLD])
    error = Failure(
        code=endings.INPUT_INVALID,
        message=f"The input does not fit the input_schema of the workflow: {told}",
        retryable=False,
    )
    endings.close_execution(tx, run.id, 1, RunStatus.FAILED, 0, error=error)
    return None


def _fail(verdicts: Verdicts, case: Case, message: str) -> None:
    workflow_id, event_id = case.bound.workflow.id, case.event.id
    log.warning("event %s, workflow %s: %s", event_id, workflow_id, message)
    verdicts.failures[workflow_id] = (event_id, message)
