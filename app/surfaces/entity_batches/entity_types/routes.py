"""/api/v1/entity-types: what kinds of records there are."""

from fastapi import APIRouter, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.surfaces.entity_batches.entity_types.schemas import (
    TypeChangeIn,
    TypeIn,
    TypeOut,
    TypeRemovedOut,
    TypesOut,
)
from app.surfaces.entity_batches.errors import BODY, errors, render
from app.surfaces.entity_batches.wire import IN_PROJECT, Limit, Offset, TypeId, listed, millis
from store.entity_types import NewType, TypeRow

router = APIRouter(
    prefix="/api/v1/entity-types",
    tags=["entity types"],
    route_class=envelope(render),
    dependencies=[IN_PROJECT],
)


@router.get("", response_model=TypesOut, responses=errors())
async def list_entity_types(
    request: Request, caller: Viewer, limit: Limit = 50, offset: Offset = 0
) -> Json:
    """List types, the builtin ones first."""
    page = await services(request).entity_types.page(caller, limit, offset)
    return Json(listed([_out(row) for row in page.rows], page.total, offset))


@router.post("", status_code=201, response_model=TypeOut, responses=errors(409, *BODY))
async def create_entity_type(request: Request, caller: Editor, body: TypeIn) -> Json:
    """Create a type; events of its records are called after its name."""
    row = await services(request).entity_types.create(
        caller,
        NewType(
            name=body.name,
            plural_name=body.plural_name,
            slug=body.slug or "",
            description=body.description,
            icon=body.icon,
            fields=body.fields,
        ),
    )
    return Json(_out(row), 201)


@router.get("/{entityTypeId}", response_model=TypeOut, responses=errors(404))
async def get_entity_type(request: Request, caller: Viewer, type_id: TypeId) -> Json:
    """One type."""
    return Json(_out(await services(request).entity_types.get(caller, type_id)))


@router.patch("/{entityTypeId}", response_model=TypeOut, responses=errors(404, 409, *BODY))
async def change_entity_type(
    request: Request, caller: Editor, type_id: TypeId, body: TypeChangeIn
) -> Json:
    """Change a type. Records that are there stay as they are; their next change has to fit."""
    changes = body.model_dump(exclude_unset=True)
    return Json(_out(await services(request).entity_types.change(caller, type_id, changes)))


@router.delete("/{entityTypeId}", response_model=TypeRemovedOut, responses=errors(404, 409))
async def delete_entity_type(request: Request, caller: Editor, type_id: TypeId) -> Json:
    """Delete a type that has no records, not even deleted ones that can be restored."""
    row = await services(request).entity_types.delete(caller, type_id)
    return Json(TypeRemovedOut(id=row.id, deleted=True))


def _out(row: TypeRow) -> TypeOut:
    return TypeOut(
        id=row.id,
        name=row.name,
        pluralName=row.plural_name,
        slug=row.slug,
        description=row.description,
        icon=row.icon,
        fields=row.fields,
        builtin=row.builtin,
        createdAt=millis(row.created_at),
        updatedAt=millis(row.updated_at),
    )
