"""What most tests of the store begin with."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from store import organisations, runs, workflows
from store.database import Tx
from store.ids import new_id
from store.runs import NewRun, RunRow
from store.workflows import WorkflowRow

ROOT = Path(__file__).parents[2]


def new_workflow(
    tx: Tx, org: str, name: str = "onboard", tags: tuple[str, ...] = ()
) -> WorkflowRow:
    return workflows.create(
        tx,
        org,
        name=name,
        description=None,
        definition={"steps": [{"id": "a", "type": "transform", "config": {}}]},
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
