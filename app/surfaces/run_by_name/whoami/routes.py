"""/v1/utils/authtest and /v1/whoami/ip: to try a key, and the way to here; contracts §1.1.2."""

from typing import Literal

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from app.envelope import Json, Viewer, envelope
from app.services.audit import address
from app.surfaces.run_by_name.errors import errors, render

router = APIRouter(prefix="/v1", tags=["API keys"], route_class=envelope(render))


class AuthTestOut(TypedDict):
    """The key is good."""

    msg: Literal["Auth successful"]


class ClientIpOut(TypedDict):
    """Where the request came from, if that is known."""

    client_ip: str | None


@router.get("/utils/authtest", response_model=AuthTestOut, responses=errors())
async def test_auth(request: Request, caller: Viewer) -> Json:
    """Whether the key is good."""
    return Json(AuthTestOut(msg="Auth successful"))


@router.get("/whoami/ip", response_model=ClientIpOut, responses=errors())
async def client_ip(request: Request, caller: Viewer) -> Json:
    """The address that the request came from, as the audit log has it."""
    return Json(ClientIpOut(client_ip=address(request.client)))
