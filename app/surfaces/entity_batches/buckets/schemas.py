"""What is taken and answered about buckets."""

import re
from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from app.surfaces.entity_batches.wire import In, Words
from engine.bucket import FileConfig, Kind, S3Config, WebhookConfig

BucketId = Annotated[str, Path(alias="bucketId", description="The id or the name of a bucket.")]
_LIKE_AN_ID = re.compile(r"[0-9a-f]{32}")


def _is_no_id(name: str) -> str:
    if _LIKE_AN_ID.fullmatch(name):
        raise ValueError("a name must not look like an id")
    if "/" in name:
        raise ValueError("a name has no slash in it")
    return name


Name = Annotated[Words, AfterValidator(_is_no_id)]
Config = Annotated[
    dict[str, Any],
    Field(
        json_schema_extra={
            "anyOf": [
                config.model_json_schema(by_alias=True)
                for config in (WebhookConfig, S3Config, FileConfig)
            ]
        },
    ),
]


class BucketIn(In):
    """A new bucket; which `config` fits depends on the kind."""

    name: Name
    kind: Kind
    config: Config


class BucketChangeIn(In):
    """What changes of a bucket; `config` replaces all of it."""

    name: Name | None = None
    config: Config | None = None


class BucketOut(TypedDict):
    """A bucket, with names of secrets and no secrets. Times are milliseconds."""

    id: str
    name: str
    kind: Kind
    config: dict[str, Any]
    createdAt: int
    updatedAt: int


class BucketsOut(TypedDict):
    """A page of buckets; `total` counts all pages."""

    data: list[BucketOut]
    total: int
    hasMore: bool


class BucketRemovedOut(TypedDict):
    """A bucket that is no more; what was put there stays."""

    id: str
    deleted: bool
