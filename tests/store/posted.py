"""Publishing an event without what else comes with it: for waits alone."""

from typing import Any

from pydantic import JsonValue
from sqlalchemy import insert

from store import waits
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.record_tables import published_events
from store.values import encode

NAME = "Answered"


def publish(tx: Tx, org: str, data: JsonValue = None, name: str = NAME, **more: Any) -> str:
    """Write an event and end the waits that it satisfies."""
    values = {"id": new_id(), "created_at": now(), "entity_id": None, **more}
    row = {"org_id": org, "name": name, "data": encode(data), "depth": 0}
    written = tx.execute(
        insert(published_events).values(**row, **values).returning(published_events)
    ).one()
    waits.match(tx, org, {written.id: waits.happening(written)})
    return str(written.id)
