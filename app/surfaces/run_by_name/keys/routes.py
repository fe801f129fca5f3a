"""/v1/api-keys: who may come in; contracts §1.1.2.

Here a key is an ordinary one, which reaches all that is not for admins, or it has the scopes of an
admin. The roles between are made, and seen, on `/api/keys` and by the command line.
"""

from fastapi import APIRouter, Request

from app.envelope import Admin, Json, envelope, services
from app.services.keys import Minted
from app.surfaces.run_by_name.errors import BODY, DeniedOut, RefusedOut, errors, render
from app.surfaces.run_by_name.keys.schemas import (
    ApiKeyIn,
    ApiKeyOut,
    ApiKeysOut,
    KeyId,
    MintedApiKeyOut,
    RevokeIn,
)
from app.surfaces.run_by_name.wire import maybe_seconds, seconds
from engine.errors import Forbidden
from engine.roles import Role
from store.keys import KeyRow

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"], route_class=envelope(render))

#: What an admin may do and no other role.
_SCOPES = ("keys:manage", "audit:read")
#: The lowest role that all ordinary routes of this surface are open to.
_ORDINARY = Role.OPERATOR
#: Who may not come in is told so in a sentence, and who may not grant scopes with a code.
_CREATE = {**errors(400, *BODY), 403: {"model": DeniedOut | RefusedOut}}


@router.get("", response_model=ApiKeysOut, responses=errors())
async def list_api_keys(request: Request, caller: Admin) -> Json:
    """List all keys, newest first, the revoked ones too."""
    rows, _ = await services(request).keys.page(caller, None, 0)
    return Json(ApiKeysOut(data=[_key(row) for row in rows]))


@router.post("", status_code=201, response_model=MintedApiKeyOut, responses=_CREATE)
async def create_api_key(request: Request, caller: Admin, body: ApiKeyIn) -> Json:
    """Make an ordinary key. Its `secret` is answered this once and cannot be found out again."""
    if body.scopes:
        raise Forbidden("An API key cannot grant scopes.", code="scope_grant_forbidden")
    made = await services(request).keys.create(
        caller, body.name, _ORDINARY, body.seconds_until_expiration
    )
    return _minted(made)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    response_model=MintedApiKeyOut,
    responses=errors(404, 409),
)
async def rotate_api_key(request: Request, caller: Admin, key_id: KeyId) -> Json:
    """Put a new key in the place of one, with its scopes and end; the old one is revoked."""
    return _minted(await services(request).keys.rotate(caller, key_id))


@router.post("/{key_id}/revoke", response_model=ApiKeyOut, responses=errors(404, 409, *BODY))
async def revoke_api_key(
    request: Request, caller: Admin, key_id: KeyId, body: RevokeIn | None = None
) -> Json:
    """Let the key in no more; a second time changes nothing."""
    reason = body.reason if body is not None else None
    return Json(_key(await services(request).keys.revoke(caller, key_id, reason)))


def _minted(made: Minted) -> Json:
    return Json(MintedApiKeyOut(**_key(made.row), secret=made.token), 201)


def _key(row: KeyRow) -> ApiKeyOut:
    return ApiKeyOut(
        id=row.id,
        name=row.name,
        created_at=seconds(row.created_at),
        last_used_at=maybe_seconds(row.last_used_at),
        revoked=row.revoked_at is not None,
        expired=row.expired,
        scopes=[*_SCOPES] if row.role is Role.ADMIN else [],
        # Keys are made by keys here, and no person is known.
        created_by_clerk_user_id=None,
    )
