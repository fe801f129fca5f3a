"""`python -m tests.replay.record [NAME …]`: records the histories that the tests replay.

A name is that of a case in `tests/workflow/cases` (`order/diamond`) or one of `OWN`. Without names
all of them are recorded anew; that is for a change of the interpreter on purpose, before the first
release only. Source: DESIGN §3, "Changing the interpreter".
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from temporalio.testing import WorkflowEnvironment

from engine.lifecycle import RunStatus, StepStatus
from store import migrate
from store.database import Database
from tests.conftest import TEMPORAL, TUNED
from tests.foreign import foreign_worker
from tests.house import House, open_house
from tests.receiver import Receiver
from tests.workflow.batching import started
from tests.workflow.definitions import chain, flow, get, step
from tests.workflow.patience import until
from tests.workflow.scheduling import start_behind_a_resumed_run
from workflows.contract import DATA_CONVERTER

FOLDER = Path(__file__).parent / "histories"
CASES = Path(__file__).parents[1] / "workflow" / "cases"

#: Cases that together make the interpreter do everything it can.
RECORDED = [
    "data/large_output",
    "data/script_that_fails",
    "failures/a_wait_is_given_up",
    "failures/catch_and_fallback",
    "failures/catch_and_pause",
    "failures/catch_that_retries",
    "failures/http_404",
    "loops/a_failed_item_fails_the_loop",
    "loops/a_failed_item_is_passed_over",
    "loops/condition_and_wait_inside",
    "loops/nested",
    "loops/no_items",
    "order/condition_true",
    "order/diamond",
    "order/disabled",
    "order/linear",
    "order/output_template_that_fails",
    "retries/exhausted",
    "retries/fixed",
    "waits/condition_of_a_step_beside_it",
    "waits/duration",
]

Play = Callable[[House, Receiver], Awaitable[list[str]]]


async def handed_over(house: House, receiver: Receiver) -> list[str]:
    """A request that takes longer than a local activity may."""
    return [(await house.finish(flow(get(receiver, "a", "/slow/2.5/a")))).temporal_id]


async def cancelled(house: House, receiver: Receiver) -> list[str]:
    """A run that is cancelled while it waits, polls and has a request under way."""
    run_id = await house.start(
        flow(
            step("wait", "timer", duration=3_600),
            step("wait", "poll", condition="false", poll_interval=0.2),
            get(receiver, "slow", "/slow/600/x"),
        )
    )
    await until(lambda: receiver.count("/slow") == 1, "no request")
    await house.cancel(run_id)
    return [(await house.until(run_id)).temporal_id]


async def paused(house: House, receiver: Receiver) -> list[str]:
    """A run that is paused while it waits and polls, and goes on in another execution."""
    done = "steps.timer.status == 'completed'"
    run_id = await house.start(
        flow(
            step("wait", "timer", duration=2),
            step("wait", "poll", condition=done, poll_interval=0.2),
            *chain(receiver, 2),
            get(receiver, "last", "", "poll", "s1"),
        )
    )

    async def waiting() -> bool:
        rows = await house.steps(run_id)
        return all(
            id_ in rows and rows[id_].status is StepStatus.WAITING for id_ in ("timer", "poll")
        )

    await until(waiting, "it does not wait")
    await house.pause(run_id)
    first = await house.until(run_id, RunStatus.PAUSED)
    await house.resume(run_id)
    return [first.temporal_id, (await house.until(run_id)).temporal_id]


async def scheduled(house: House, receiver: Receiver) -> list[str]:
    """A start by a schedule, which waits for a run that was resumed."""
    return await start_behind_a_resumed_run(house, receiver)


async def called(house: House, receiver: Receiver) -> list[str]:
    """A call of somebody else's activity whose worker is lost in the middle of it."""
    address = house.client.service_client.config.target_host
    with tempfile.TemporaryDirectory() as folder:
        async with foreign_worker(address, Path(folder)) as other:
            config = {"task_queue": other.queue, "heartbeat_timeout": 1}
            run_id = await house.start(flow(step("activity", "a", name="works", input=2, **config)))
            await other.has_noted("begun")
            await other.kill()
            await other.start()
            run = await house.until(run_id)
    return [run.temporal_id, f"call/{run_id}/a/-/1/1/1"]


async def parked(house: House, receiver: Receiver) -> list[str]:
    """A run that gives its place back twice: for a retry, and for a wait that is cancelled."""
    retry = {"delay": 10, "max_attempts": 2}
    run_id = await house.start(
        flow(
            get(receiver, "a", "/flaky/1/a", retry=retry),
            step("wait", "hold", "a", duration=3_600),
        )
    )

    async def parked_again() -> bool:
        return (await house.run(run_id)).parkings == 2

    await until(parked_again, "it does not give its place back")
    await house.cancel(run_id)
    return [(await house.until(run_id)).temporal_id]


async def with_children(house: House, receiver: Receiver) -> list[str]:
    """A run with a child, one that it does not wait for, and a loop of them."""
    leaf = await house.define(flow(get(receiver, "a", "/slow/0.3/a")))

    def child(step_id: str, *after: str, **config: Any) -> Any:
        return step("run_workflow", step_id, *after, workflow=leaf.name, **config)

    run = await house.finish(
        flow(
            child("one"),
            child("off", "one", wait=False),
            step("loop", "each", "one", items=[1, 2, 3], concurrency=2, steps=[child("item")]),
        )
    )
    return [run.temporal_id]


async def batch(house: House, receiver: Receiver) -> list[str]:
    """A batch that is paused, resumed and cancelled, and one that ends with a retried notice."""
    hook = {"url": receiver.url("/slow/0.3/told")}
    told = {"id": "told", "type": "webhook", "config": hook}
    records: list[dict[str, Any]] = [{"title": str(n)} for n in range(60)]
    first = await started(house, records, told, concurrency=2)

    async def halfway(count: int) -> None:
        await until(lambda: receiver.count("/slow") >= count, "no request")

    await halfway(2)
    await house.pause(first.run_id)
    paused = await first.until(RunStatus.PAUSED)
    await house.resume(first.run_id)
    await halfway(receiver.count("/slow") + 2)
    await house.cancel(first.run_id)
    ended = await first.until()
    notice = {
        "id": "notice",
        "type": "notify",
        "config": {"channel": "webhook", "url": receiver.url("/flaky/1/x"), "once": True},
        "retry": {"delay": 0.1},
    }
    looked = {"id": "looked", "type": "transform", "config": {"output": 1}}
    second = await (await started(house, records, looked, notice)).until()
    return [paused.temporal_id, ended.temporal_id, second.temporal_id]


OWN: dict[str, Play] = {
    "own/batch": batch,
    "own/called": called,
    "own/cancelled": cancelled,
    "own/handed_over": handed_over,
    "own/parked": parked,
    "own/paused": paused,
    "own/scheduled": scheduled,
    "own/with_children": with_children,
}


async def play(name: str, house: House, receiver: Receiver) -> list[str]:
    """Let a case happen; the workflow ids of its executions."""
    if name in OWN:
        return await OWN[name](house, receiver)
    file, case_name = name.split("/")
    case: dict[str, Any] = yaml.safe_load((CASES / f"{file}.yaml").read_text())[case_name]
    text = json.dumps({"name": case_name, **case["definition"]}).replace("$URL", receiver.url(""))
    run = await house.finish(json.loads(text), case.get("input"))
    return [run.temporal_id]


def scrubbed(value: Any) -> Any:
    """The history without the names and paths of the machine that it was recorded on."""
    if isinstance(value, dict):
        replaced = {"identity": "recorder", "stackTrace": ""}
        return {key: replaced.get(key, scrubbed(inner)) for key, inner in value.items()}
    return [scrubbed(inner) for inner in value] if isinstance(value, list) else value


async def record(house: House, name: str) -> None:
    """Play a case and keep the history of each of its executions."""
    async with Receiver() as receiver:
        ids = await play(name, house, receiver)
    for number, workflow_id in enumerate(ids, start=1):
        handle = house.client.get_workflow_handle(workflow_id)

        async def closed(handle: Any = handle) -> bool:
            return (await handle.describe()).close_time is not None

        await until(closed, f"{name} does not end")
        history = scrubbed((await handle.fetch_history()).to_json_dict())
        path = FOLDER / f"{name.replace('/', '-')}-{number}.json"
        path.write_text(json.dumps({"id": workflow_id, "history": history}) + "\n")
        print(path.name)


async def main(names: list[str]) -> None:
    """Record these cases, or all of them, on a server of their own."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/signalbox.db"
        migrate.upgrade(url)
        database = Database(url)
        async with (
            await WorkflowEnvironment.start_local(
                data_converter=DATA_CONVERTER,
                dev_server_existing_path=TEMPORAL,
                dev_server_extra_args=TUNED,
            ) as server,
            open_house(server.client, database) as house,
        ):
            for name in names or [*RECORDED, *OWN]:
                await record(house, name)
        await database.close()


if __name__ == "__main__":
    if not sys.argv[1:]:
        shutil.rmtree(FOLDER, ignore_errors=True)
    asyncio.run(main(sys.argv[1:]))
