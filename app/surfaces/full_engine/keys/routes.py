"""/api/keys: who may come in, and as what."""

from fastapi import APIRouter, Request

from app.envelope import Admin, Json, envelope, services
from app.services.keys import Minted
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.keys.schemas import (
    KeyId,
    KeyIn,
    KeyOut,
    KeysOut,
    MintedKeyOut,
    OneKeyOut,
    RevocationIn,
)
from app.surfaces.full_engine.wire import Limit, Offset, iso, maybe_iso
from store.keys import KeyRow

router = APIRouter(prefix="/api/keys", tags=["keys"], route_class=envelope(render))


@router.get("", response_model=KeysOut, responses=errors())
async def list_keys(request: Request, caller: Admin, limit: Limit = 50, offset: Offset = 0) -> Json:
    """List keys, newest first, the revoked ones too; the keys themselves are not kept."""
    rows, total = await services(request).keys.page(caller, limit, offset)
    return Json(KeysOut(keys=[_key(row) for row in rows], total=total))


@router.post("", status_code=201, response_model=MintedKeyOut, responses=errors(*BODY))
async def create_key(request: Request, caller: Admin, body: KeyIn) -> Json:
    """Make a key. Its `secret` is answered this once and cannot be found out again."""
    return _minted(
        await services(request).keys.create(
            caller, body.name, body.role, body.seconds_until_expiration
        )
    )


@router.get("/{key_id}", response_model=OneKeyOut, responses=errors(404))
async def get_key(request: Request, caller: Admin, key_id: KeyId) -> Json:
    """A key."""
    return Json(OneKeyOut(key=_key(await services(request).keys.get(caller, key_id))))


@router.post(
    "/{key_id}/rotate", status_code=201, response_model=MintedKeyOut, responses=errors(404, 409)
)
async def rotate_key(request: Request, caller: Admin, key_id: KeyId) -> Json:
    """Put a new key in the place of one, with its role and end; the old one is revoked."""
    return _minted(await services(request).keys.rotate(caller, key_id))


@router.post("/{key_id}/revoke", response_model=OneKeyOut, responses=errors(404, 409, *BODY))
async def revoke_key(
    request: Request, caller: Admin, key_id: KeyId, body: RevocationIn | None = None
) -> Json:
    """Let a key in no more; a second time changes nothing."""
    reason = body.reason if body is not None else None
    return Json(OneKeyOut(key=_key(await services(request).keys.revoke(caller, key_id, reason))))


def _minted(made: Minted) -> Json:
    return Json(
        MintedKeyOut(id=made.row.id, key=_key(made.row), secret=made.token),
        201,
        {"Location": f"/api/keys/{made.row.id}"},
    )


def _key(row: KeyRow) -> KeyOut:
    return KeyOut(
        id=row.id,
        name=row.name,
        role=row.role,
        created_at=iso(row.created_at),
        created_by=row.created_by,
        last_used_at=maybe_iso(row.last_used_at),
        expires_at=maybe_iso(row.expires_at),
        expired=row.expired,
        revoked_at=maybe_iso(row.revoked_at),
        revoked_reason=row.revoked_reason,
    )
