"""/v1: let a workflow be started at a time, look at that, cancel it."""

from fastapi import APIRouter, Request

from app.envelope import Json, Runner, Viewer, envelope, services, to_json
from app.services.once import Answered, once_for_any_body
from app.surfaces.run_by_name.errors import BODY, errors, render
from app.surfaces.run_by_name.schedules.schemas import ScheduledRunOut, ScheduleRunIn
from app.surfaces.run_by_name.wire import (
    IdempotencyKey,
    ScheduleId,
    WorkflowName,
    bare,
    maybe_seconds,
    micros,
    seconds,
    spelled,
)
from store.one_offs import OneOff

router = APIRouter(prefix="/v1/workflows", tags=["run by name"], route_class=envelope(render))


@router.get("/schedules/{schedule_id}", response_model=ScheduledRunOut, responses=errors(404))
async def get_scheduled_run(request: Request, caller: Viewer, schedule_id: ScheduleId) -> Json:
    """A start in the future, and what became of it."""
    row = await services(request).one_offs.get(caller, bare("cbwsch_", schedule_id))
    return Json(_out(row))


@router.delete(
    "/schedules/{schedule_id}", response_model=ScheduledRunOut, responses=errors(404, 409)
)
async def cancel_scheduled_run(request: Request, caller: Runner, schedule_id: ScheduleId) -> Json:
    """Give a start in the future up; once canceled it stays so."""
    row = await services(request).one_offs.cancel(caller, bare("cbwsch_", schedule_id))
    return Json(_out(row))


@router.post(
    "/{workflow_name}/schedule",
    status_code=201,
    response_model=ScheduledRunOut,
    responses=errors(400, 404, 409, *BODY),
)
async def schedule_named_workflow(
    request: Request,
    caller: Runner,
    workflow_name: WorkflowName,
    body: ScheduleRunIn,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Start a run of the workflow of this name at a time, once."""
    answered = await services(request).one_offs.create(
        caller,
        workflow_name,
        micros(body.scheduled_for),
        body.input,
        once_for_any_body(
            request.headers.getlist("idempotency-key"),
            f"POST /v1/workflows/{workflow_name}/schedule",
        ),
        _created,
    )
    headers = {"Idempotent-Replayed": "true"} if answered.replayed else {}
    return Json(answered.body, answered.status, headers)


def _created(row: OneOff) -> Answered:
    return Answered(row.id, 201, to_json(_out(row)))


def _out(row: OneOff) -> ScheduledRunOut:
    return ScheduledRunOut(
        id=spelled("cbwsch_", row.id),
        workflow_definition_id=spelled("cbwd_", row.workflow_id),
        scheduled_for=seconds(row.run_at),
        fired_at=maybe_seconds(row.fired_at),
        canceled_at=maybe_seconds(row.canceled_at),
        cancel_reason=row.cancel_reason,
        payload=row.input,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )
