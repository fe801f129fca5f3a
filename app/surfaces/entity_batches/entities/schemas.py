"""What is taken and answered about records."""

from typing import Any, Literal

from typing_extensions import TypedDict

from app.surfaces.entity_batches.wire import In, Words


class EntityIn(In):
    """A new record; the type by id or name, the fields by slug."""

    entity_type_id: Words
    fields: dict[str, Any]


class EntityChangeIn(In):
    """The fields that change; null takes one away."""

    fields: dict[str, Any]


class EntityOut(TypedDict):
    """A record. Times are milliseconds.

    `archivedAt` is when it was deleted, `publishedAt` when a batch has last published it.
    """

    id: str
    entityTypeId: str
    fields: dict[str, Any]
    createdAt: int
    updatedAt: int
    archivedAt: int | None
    publishedAt: int | None


class EntitiesOut(TypedDict):
    """A page of records; `total` counts all pages."""

    data: list[EntityOut]
    total: int
    hasMore: bool


class RowErrorOut(TypedDict):
    """What is wrong with a row, counted from 1."""

    row: int
    message: str


class ImportedOut(TypedDict):
    """What has come of an import; `errors` are the first 100."""

    imported: int
    failed: int
    errors: list[RowErrorOut]


class ImportIn(In):
    """The JSON of an import, for its description alone: it is read as it comes."""

    entity_type_id: Words
    #: Each is `{"fields": {…}}`.
    entities: list[dict[Literal["fields"], dict[str, Any]]]
