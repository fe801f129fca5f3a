"""/api/v1/entities: the records that workflows are about."""

from email.message import Message
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from app.envelope import Editor, Json, Viewer, envelope, in_utf8, services, to_json
from app.services.door import Refused
from app.services.imports import Imported
from app.services.once import Answered, once
from app.services.rows import CSV, JSON, NDJSON, Body
from app.surfaces.entity_batches.entities.schemas import (
    EntitiesOut,
    EntityChangeIn,
    EntityIn,
    EntityOut,
    ImportedOut,
    ImportIn,
    RowErrorOut,
)
from app.surfaces.entity_batches.errors import BODY, KEYED, errors, render
from app.surfaces.entity_batches.wire import (
    IN_PROJECT,
    EntityId,
    IdempotencyKey,
    Limit,
    Offset,
    Words,
    maybe_millis,
    millis,
)
from store.entities import EntityRow

router = APIRouter(
    prefix="/api/v1/entities",
    tags=["entities"],
    route_class=envelope(render),
    dependencies=[IN_PROJECT],
)

_TYPE = "The id or the name of the type."
#: What an import may be sent as, for the OpenAPI document.
_BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": ImportIn.model_json_schema()},
            NDJSON: {"schema": {"type": "string"}},
            CSV: {"schema": {"type": "string"}},
        },
    }
}


@router.get("", response_model=EntitiesOut, responses=errors())
async def list_entities(
    request: Request,
    caller: Viewer,
    entity_type_id: Annotated[Words, Query(alias="entityTypeId", description=_TYPE)],
    archived: Annotated[bool, Query(description="The deleted ones instead.")] = False,
    order: Annotated[
        Literal["asc", "desc"], Query(description="By when they were made; `asc`: oldest first.")
    ] = "desc",
    after: Annotated[
        Words | None,
        Query(description="An entity, such as the last of a page: those that follow it."),
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the records of a type, newest first unless asked otherwise."""
    page = await services(request).entities.page(
        caller,
        entity_type_id,
        archived=archived,
        oldest_first=order == "asc",
        after=after,
        limit=limit,
        offset=offset,
    )
    rows = [_out(row) for row in page.rows]
    return Json(EntitiesOut(data=rows, total=page.total, hasMore=page.more))


@router.post("", status_code=201, response_model=EntityOut, responses=errors(409, *KEYED))
async def create_entity(
    request: Request, caller: Editor, body: EntityIn, idempotency_key: IdempotencyKey = None
) -> Json:
    """Create a record, which publishes `<Type>.Created`."""
    keys = request.headers.getlist("idempotency-key")
    return _answer(
        await services(request).entities.create(
            caller,
            body.entity_type_id,
            body.fields,
            once(keys, "POST /api/v1/entities", await request.json()),
            lambda row: Answered(row.id, 201, to_json(_out(row))),
        )
    )


@router.post("/import", response_model=ImportedOut, responses=errors(*KEYED), openapi_extra=_BODIES)
async def import_entities(
    request: Request,
    caller: Editor,
    entity_type_id: Annotated[Words | None, Query(alias="entityTypeId", description=_TYPE)] = None,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Create many records out of JSON, of one JSON object a line, or of CSV."""
    kind = _kind_of(request)
    keys = request.headers.getlist("idempotency-key")
    return _answer(
        await services(request).imports.run(
            caller,
            entity_type_id,
            Body(kind, request.stream(), type_elsewhere=entity_type_id is not None),
            once(keys, "POST /api/v1/entities/import", None),
            _imported,
        )
    )


@router.get("/{entityId}", response_model=EntityOut, responses=errors(404))
async def get_entity(request: Request, caller: Viewer, written: EntityId) -> Json:
    """One record, also a deleted one that can be restored."""
    entities = services(request).entities
    return Json(_out(await entities.get(caller, await entities.id_of(caller, written))))


@router.patch("/{entityId}", response_model=EntityOut, responses=errors(404, 409, *BODY))
async def change_entity(
    request: Request, caller: Editor, written: EntityId, body: EntityChangeIn
) -> Json:
    """Change fields of a record, which publishes `<Type>.Updated` if any is different now."""
    key = request.headers.get("idempotency-key")
    entities = services(request).entities
    entity_id = await entities.id_of(caller, written)
    return Json(_out(await entities.change(caller, entity_id, body.fields, key)))


@router.delete("/{entityId}", response_model=EntityOut, responses=errors(404))
async def delete_entity(request: Request, caller: Editor, written: EntityId) -> Json:
    """Delete a record, which publishes `<Type>.Deleted`; it can be restored for 30 days."""
    key = request.headers.get("idempotency-key")
    entities = services(request).entities
    entity_id = await entities.id_of(caller, written)
    return Json(_out(await entities.archive(caller, entity_id, key)))


@router.post("/{entityId}/restore", response_model=EntityOut, responses=errors(404))
async def restore_entity(request: Request, caller: Editor, written: EntityId) -> Json:
    """Take a deletion back, which publishes `<Type>.Updated`."""
    key = request.headers.get("idempotency-key")
    entities = services(request).entities
    entity_id = await entities.id_of(caller, written)
    return Json(_out(await entities.restore(caller, entity_id, key)))


def _kind_of(request: Request) -> str:
    """What an import is sent as.

    Raises:
        Refused: it is nothing that can be read.
    """
    sent = Message()
    sent["content-type"] = request.headers.get("content-type", "")
    kind = sent.get_content_type()
    if kind not in (JSON, NDJSON, CSV):
        message = f"An import must be sent as Content-Type: {JSON}, {NDJSON} or {CSV}."
        raise Refused(415, "unsupported_media_type", message)
    if not in_utf8(request):
        raise Refused(415, "unsupported_media_type", "An import must be sent in UTF-8.")
    return kind


def _out(row: EntityRow) -> EntityOut:
    return EntityOut(
        id=row.id,
        entityTypeId=row.type_id,
        fields=row.fields,
        createdAt=millis(row.created_at),
        updatedAt=millis(row.updated_at),
        archivedAt=maybe_millis(row.archived_at),
        publishedAt=maybe_millis(row.published_at),
    )


def _imported(done: Imported) -> Answered:
    errors = [RowErrorOut(row=error.row, message=error.message) for error in done.errors]
    out = ImportedOut(imported=done.imported, failed=done.failed, errors=errors)
    return Answered("", 200, to_json(out))


def _answer(answered: Answered) -> Json:
    headers = {"Idempotent-Replayed": "true"} if answered.replayed else {}
    return Json(answered.body, answered.status, headers)
