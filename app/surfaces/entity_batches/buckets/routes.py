"""/api/v1/buckets: where `publish` steps put content."""

from fastapi import APIRouter, Request

from app.envelope import Editor, Json, Viewer, envelope, services
from app.surfaces.entity_batches.buckets.schemas import (
    BucketChangeIn,
    BucketId,
    BucketIn,
    BucketOut,
    BucketRemovedOut,
    BucketsOut,
)
from app.surfaces.entity_batches.errors import BODY, errors, render
from app.surfaces.entity_batches.wire import IN_PROJECT, Limit, Offset, listed, millis
from engine.bucket import written
from store.buckets import BucketRow

router = APIRouter(
    prefix="/api/v1/buckets",
    tags=["buckets"],
    route_class=envelope(render),
    dependencies=[IN_PROJECT],
)


@router.get("", response_model=BucketsOut, responses=errors())
async def list_buckets(
    request: Request, caller: Viewer, limit: Limit = 50, offset: Offset = 0
) -> Json:
    """List buckets by name."""
    page = await services(request).buckets.page(caller, limit, offset)
    return Json(listed([_out(row) for row in page.rows], page.total, offset))


@router.post("", status_code=201, response_model=BucketOut, responses=errors(409, *BODY))
async def create_bucket(request: Request, caller: Editor, body: BucketIn) -> Json:
    """Name a place for content."""
    buckets = services(request).buckets
    return Json(_out(await buckets.create(caller, body.name, body.kind, body.config)), 201)


@router.get("/{bucketId}", response_model=BucketOut, responses=errors(404))
async def get_bucket(request: Request, caller: Viewer, named: BucketId) -> Json:
    """One bucket."""
    return Json(_out(await services(request).buckets.get(caller, named)))


@router.patch("/{bucketId}", response_model=BucketOut, responses=errors(404, 409, *BODY))
async def change_bucket(
    request: Request, caller: Editor, named: BucketId, body: BucketChangeIn
) -> Json:
    """Change a bucket; what begins from now on goes to the new place."""
    buckets = services(request).buckets
    return Json(_out(await buckets.change(caller, named, body.name, body.config)))


@router.delete("/{bucketId}", response_model=BucketRemovedOut, responses=errors(404))
async def delete_bucket(request: Request, caller: Editor, named: BucketId) -> Json:
    """Forget a bucket; what was put there stays."""
    row = await services(request).buckets.remove(caller, named)
    return Json(BucketRemovedOut(id=row.id, deleted=True))


def _out(row: BucketRow) -> BucketOut:
    return BucketOut(
        id=row.id,
        name=row.name,
        kind=row.bucket.kind,
        config=written(row.bucket),
        createdAt=millis(row.created_at),
        updatedAt=millis(row.updated_at),
    )
