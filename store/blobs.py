"""Values that are too large for a row."""

from sqlalchemy import select

from engine.errors import Invalid, NotFound
from store.clock import now
from store.database import Tx
from store.ids import new_id
from store.tables import blobs

#: Bytes up to which a value stays in its row.
INLINE = 64 * 1024
#: Bytes beyond which a value is refused.
MAX = 8 * 1024 * 1024


def put(tx: Tx, run_id: str, content: bytes) -> str:
    """Keep the bytes as long as the run is kept; answers their id.

    Raises:
        Invalid: They are more than `MAX`. The caller knows which step it was and says so.
    """
    if len(content) > MAX:
        raise Invalid(f"{len(content)} bytes are over the limit of {MAX}.", code="value_too_large")
    blob_id = new_id()
    tx.execute(blobs.insert().values(id=blob_id, run_id=run_id, content=content, created_at=now()))
    return blob_id


def get(tx: Tx, blob_id: str) -> bytes:
    """The bytes.

    Raises:
        NotFound: There are none of this id.
    """
    content = tx.scalar(select(blobs.c.content).where(blobs.c.id == blob_id))
    if content is None:
        raise NotFound("There is no such value.", code="blob_not_found")
    return bytes(content)
