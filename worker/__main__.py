"""`python -m worker`: carries out runs until it is told to stop (SIGTERM or SIGINT)."""

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid

from pydantic import ValidationError
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from engine.errors import Unavailable
from store import workers
from store.clock import now
from store.database import Database
from worker.build import Built, build
from worker.settings import Settings
from workflows.contract import DATA_CONVERTER

#: Seconds between two signs of life.
BEAT = 2.0

_log = logging.getLogger("worker")


async def connect() -> Client:
    """Temporal as its own `TEMPORAL_*` variables say; waits until it answers."""
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", "127.0.0.1:7233")
    while True:
        try:
            return await Client.connect(**config, data_converter=DATA_CONVERTER)
        except (RPCError, RuntimeError) as error:
            _log.warning("Temporal does not answer, trying again: %s", error)
            await asyncio.sleep(1)


async def beat(database: Database, built: Built, worker_id: str) -> None:
    """Say every few seconds that this worker lives, and let go of what nobody waits for."""
    started_at = now()
    while True:
        try:
            await database.write(lambda tx: workers.beat(tx, worker_id, started_at))
            await built.performer.drop_orphans()
        except Unavailable:
            _log.warning("the database does not answer")
        await asyncio.sleep(BEAT)


async def work(settings: Settings) -> None:
    """Run a worker until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    worker_id = f"{socket.gethostname()[:24]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    database = Database(settings.url)
    try:
        client = await connect()
        async with build(client, database, settings, worker_id=worker_id) as built:
            beating = asyncio.create_task(beat(database, built, worker_id))
            async with built.worker:
                _log.info("worker %s is ready", worker_id)
                await stop.wait()
            beating.cancel()
    finally:
        await database.close()


def main() -> None:
    """Start the worker with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        sys.exit(f"signalbox: {first['loc'][0]}: {first['msg']}")
    asyncio.run(work(settings))


if __name__ == "__main__":
    main()
