"""A worker of somebody else's: it knows Temporal, and nothing of Signalbox.

    python tests/foreign_worker.py ADDRESS TASK_QUEUE JOURNAL

Each beginning and end of an activity is a line of the journal: what, the activity's id, its
workflow's id.
"""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

JOURNAL = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(os.devnull)


def note(what: str) -> None:
    """Write a line; it is there when the process is killed right afterwards."""
    info = activity.info()
    with JOURNAL.open("a") as journal:
        journal.write(f"{what} {info.activity_id} {info.workflow_id}\n")


def times(what: str) -> int:
    """How often that was noted for this activity's id."""
    wanted = f"{what} {activity.info().activity_id} "
    return sum(line.startswith(wanted) for line in JOURNAL.read_text().splitlines())


@activity.defn(name="Greet.v1")
async def greet(who: dict[str, Any]) -> dict[str, Any]:
    note("greet")
    return {"greeting": f"Hello {who['name']}!", "given": who}


@activity.defn(name="nothing")
async def nothing() -> None:
    note("nothing")


@activity.defn(name="binary")
async def binary() -> bytes:
    return b"\x00\x01"


@activity.defn(name="large")
async def large(size: int) -> str:
    return "x" * size


@activity.defn(name="measure")
async def measure(text: str) -> int:
    return len(text)


@activity.defn(name="flaky")
async def flaky(failures: int) -> int:
    """Fail that many times, then answer how often it was called."""
    note("flaky")
    if times("flaky") <= failures:
        raise ApplicationError("not yet", type="TryLater")
    return times("flaky")


@activity.defn(name="refuses")
async def refuses(kind: str) -> None:
    note("refuses")
    raise ApplicationError(f"no: {'x' * 5_000}", type=kind, non_retryable=True)


@activity.defn(name="breaks")
async def breaks() -> None:
    raise KeyError("a defect")


@activity.defn(name="works")
async def works(seconds: float) -> str:
    """Work for that long, with a heartbeat every 0.2 s, and say how it ended."""
    note("begun")
    try:
        for _ in range(int(seconds / 0.2)):
            activity.heartbeat()
            await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    note("done")
    return f"worked {seconds:g} s"


async def main() -> None:
    client = await Client.connect(sys.argv[1])
    worker = Worker(
        client,
        task_queue=sys.argv[2],
        activities=[greet, nothing, binary, large, measure, flaky, refuses, breaks, works],
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )
    async with worker:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
