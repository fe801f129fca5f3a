"""Things done to buckets, which is where `publish` steps put content."""

from dataclasses import dataclass
from typing import Any

from app.services.auth import Caller
from engine.bucket import bucket_of, written
from store import buckets
from store.buckets import BucketRow
from store.database import Database, Tx

#: Where the config of a bucket is in a request.
CONFIG = "body.config"


@dataclass(frozen=True)
class BucketPage:
    """Some buckets, and how many there are in all."""

    rows: list[BucketRow]
    total: int


class Buckets:
    """The buckets of every organisation, each through its callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, caller: Caller, name: str, kind: str, config: dict[str, Any]
    ) -> BucketRow:
        """Keep a new bucket.

        Raises:
            Invalid: the config is none of this kind.
            Conflict: the organisation has one of this name.
        """
        bucket = bucket_of(kind, config, CONFIG)
        return await self._database.write(
            lambda tx: buckets.create(tx, caller.org_id, name, bucket)
        )

    async def get(self, caller: Caller, named: str) -> BucketRow:
        """The bucket of this id or name.

        Raises:
            NotFound: there is none in the caller's organisation.
        """
        return await self._database.read(lambda tx: buckets.find(tx, caller.org_id, named))

    async def page(self, caller: Caller, limit: int, offset: int) -> BucketPage:
        """By name."""
        rows, total = await self._database.read(
            lambda tx: buckets.page(tx, caller.org_id, limit=limit, offset=offset)
        )
        return BucketPage(rows, total)

    async def change(
        self, caller: Caller, named: str, name: str | None, config: dict[str, Any] | None
    ) -> BucketRow:
        """Give it another name, another config, or both; its kind stays.

        Raises:
            NotFound: there is none in the caller's organisation.
            Invalid: the config is none of its kind.
            Conflict: another one has the name.
        """

        def work(tx: Tx) -> BucketRow:
            row = buckets.find(tx, caller.org_id, named)
            wanted = written(row.bucket) if config is None else config
            bucket = bucket_of(row.bucket.kind, wanted, CONFIG)
            return buckets.replace(tx, caller.org_id, row.id, name or row.name, bucket)

        return await self._database.write(work)

    async def remove(self, caller: Caller, named: str) -> BucketRow:
        """Forget it; steps that name it fail from now on. What it was.

        Raises:
            NotFound: there is none in the caller's organisation.
        """

        def work(tx: Tx) -> BucketRow:
            row = buckets.find(tx, caller.org_id, named)
            buckets.remove(tx, caller.org_id, row.id)
            return row

        return await self._database.write(work)
