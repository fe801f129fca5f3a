"""Another process that uses the database: `python process.py VERB URL ARGUMENT TIMES`."""

import asyncio
import sys

from sqlalchemy import update

from engine.lifecycle import EventType
from store import events
from store.database import Database, Tx
from store.events import NewEvent
from store.tables import leases


async def transfer(database: Database, amount: str, times: int) -> None:
    """Move an amount from the one account to the other, each time in one transaction."""

    def move(tx: Tx) -> None:
        for name, change in (("a", -int(amount)), ("b", int(amount))):
            tx.execute(
                update(leases).where(leases.c.name == name).values(until=leases.c.until + change)
            )

    for _ in range(times):
        await database.write(move)


async def append(database: Database, run_id: str, times: int) -> None:
    """Append so many events to a run, each in a transaction of its own."""
    for _ in range(times):
        await database.write(
            lambda tx: events.append(tx, run_id, [NewEvent(EventType.STEP_STARTED)])
        )


async def main(verb: str, url: str, argument: str, times: str) -> None:
    database = Database(url)
    await {"transfer": transfer, "append": append}[verb](database, argument, int(times))
    await database.close()


asyncio.run(main(*sys.argv[1:]))
