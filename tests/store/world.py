"""What most tests of the store begin with."""

import asyncio
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from activities.registry import catalog
from engine.errors import SignalboxError
from store import events, executions, organisations, runs, workflows
from store.database import Database, Tx
from store.events import EventRow
from store.executions import Opening
from store.ids import new_id
from store.runs import NewRun, RunRow
from store.workflows import WorkflowRow

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
#: Places of an organisation, where a test has no opinion.
PLACES = 10
STEP: JsonValue = {"id": "a", "type": "transform", "config": {}}


def new_workflow(
    tx: Tx,
    org: str,
    name: str = "onboard",
    tags: tuple[str, ...] = (),
    steps: tuple[JsonValue, ...] = (STEP,),
) -> WorkflowRow:
    return workflows.create(
        tx,
        org,
        name=name,
        description=None,
        definition={"name": name, "steps": [*steps]},
        status="active",
        trigger_type="manual",
        tags=[*tags],
    )


@dataclass(frozen=True)
class World:
    """One organisation and its workflow; another of each, whose things must stay unseen."""

    org: str
    workflow: WorkflowRow
    other_org: str
    other_workflow: WorkflowRow

    @staticmethod
    def make(tx: Tx) -> "World":
        mine = organisations.ensure(tx, "mine")
        other = organisations.ensure(tx, "other")
        return World(mine, new_workflow(tx, mine), other, new_workflow(tx, other))

    def new_run(self, input: dict[str, JsonValue] | None = None, id: str | None = None) -> NewRun:
        return NewRun(
            org_id=self.org,
            workflow_id=self.workflow.id,
            workflow_name=self.workflow.name,
            version=self.workflow.version,
            surface="full_engine",
            trigger="manual",
            input=input or {},
            id=id or new_id(),
        )

    def run(self, tx: Tx) -> RunRow:
        return runs.accept(tx, self.new_run())

    def begun(self, tx: Tx) -> RunRow:
        """A run that its first execution carries out."""
        run = self.run(tx)
        assert begin(tx, run.id).state == "admitted"
        return seen(tx, run.id)

    def with_steps(self, tx: Tx, *steps: JsonValue) -> "World":
        """The same organisation with another workflow."""
        workflow = new_workflow(tx, self.org, "other", steps=steps)
        return World(self.org, workflow, self.other_org, self.other_workflow)


def begin(tx: Tx, run_id: str, n: int = 1, limit: int = PLACES) -> Opening:
    return executions.open_execution(tx, run_id, n, limit, catalog())


def seen(tx: Tx, run_id: str) -> RunRow:
    run = runs.by_id(tx, run_id)
    assert run is not None
    return run


def log(tx: Tx, run_id: str) -> list[EventRow]:
    """All events of a run; they are numbered from 1 without a gap."""
    found = events.after(tx, {run_id: 0})
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert len(found) == events.last(tx, run_id)
    return found


async def overlap(
    one: Database, first: Callable[[Tx], T], other: Database, second: Callable[[Tx], T]
) -> list[T | SignalboxError]:
    """Let the second come while the first has done its work and has not committed."""
    done, begun, go_on = threading.Event(), threading.Event(), threading.Event()

    def held(tx: Tx) -> T:
        try:
            return first(tx)
        finally:
            if tx.dialect.name == "sqlite":
                # It has one writer: the second cannot begin before the first has ended.
                begun.set()
            done.set()
            assert go_on.wait(60)

    def late(tx: Tx) -> T:
        begun.set()
        return second(tx)

    tasks = [asyncio.create_task(one.write(held))]
    assert await asyncio.to_thread(done.wait, 30)
    tasks.append(asyncio.create_task(other.write(late)))
    assert await asyncio.to_thread(begun.wait, 30)
    await asyncio.wait({tasks[1]}, timeout=0.1)
    go_on.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [answer for answer in answers if not _defect(answer)]


def _defect(answer: object) -> bool:
    if isinstance(answer, BaseException) and not isinstance(answer, SignalboxError):
        raise answer
    return False


async def other_process(verb: str, url: str, argument: str, times: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.store.process",
        verb,
        url,
        argument,
        str(times),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
