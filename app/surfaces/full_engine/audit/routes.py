"""/api/audit: who called what, when, and how it ended."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.envelope import Admin, Json, envelope, services
from app.surfaces.full_engine.audit.schemas import CallOut, CallsOut
from app.surfaces.full_engine.errors import errors, render
from app.surfaces.full_engine.wire import Limit, iso, micros
from store.audit import Call

router = APIRouter(prefix="/api/audit", tags=["audit"], route_class=envelope(render))

#: An id that a query names; one that nothing has finds nothing.
Id = Annotated[str, Query(pattern=r"^[0-9a-f]{1,32}$")]


@router.get("", response_model=CallsOut, responses=errors())
async def list_calls(
    request: Request,
    caller: Admin,
    key_id: Id | None = None,
    status: Annotated[int | None, Query(ge=100, le=599)] = None,
    since: Annotated[datetime | None, Query(description="This moment or later.")] = None,
    until: Annotated[datetime | None, Query(description="Before this moment.")] = None,
    limit: Limit = 50,
    before: Annotated[Id | None, Query(description="The id of a call: older ones.")] = None,
) -> Json:
    """List the calls of the organisation's keys, newest first."""
    calls, more = await services(request).audit.page(
        caller,
        limit,
        before=before,
        key_id=key_id,
        status=status,
        since=micros(since) if since is not None else None,
        until=micros(until) if until is not None else None,
    )
    return Json(CallsOut(calls=[_call(call) for call in calls], has_more=more))


def _call(call: Call) -> CallOut:
    return CallOut(
        id=call.id,
        at=iso(call.at),
        key_id=call.key_id,
        key_name=call.key_name,
        method=call.method,
        route=call.route,
        path=call.path,
        query_parameters=[*call.parameters],
        status=call.status,
        duration_ms=call.duration_ms,
        client_ip=call.client_ip,
        correlation_id=call.correlation_id,
    )
