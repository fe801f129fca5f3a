"""/api/workflows: schedules. Literal segments stand before `{workflow_id}`."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pydantic import AwareDatetime

from app.envelope import Editor, Json, Operator, Runner, Viewer, envelope, services, to_json
from app.services.once import Answered, once
from app.services.timetable import MOST_TIMES
from app.surfaces.full_engine.errors import BODY, errors, render
from app.surfaces.full_engine.schedules import shapes
from app.surfaces.full_engine.schedules.schemas import (
    BackfilledOut,
    BackfillIn,
    CreatedScheduleOut,
    DeletedScheduleOut,
    NoteIn,
    OneScheduleOut,
    PreviewOut,
    ScheduleIn,
    SchedulesOut,
    TriggeredOut,
    micros,
)
from app.surfaces.full_engine.wire import (
    Limit,
    Offset,
    ScheduleId,
    WorkflowId,
    bare,
    iso,
    spelled,
)
from store.schedules import ScheduleRow, Terms

router = APIRouter(prefix="/api/workflows", tags=["schedules"], route_class=envelope(render))

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters. The same key and body within 24 hours "
        "get the first answer again, marked `Idempotent-Replayed: true`.",
    ),
]
#: Times of a preview where neither a number nor an end is asked for.
_SOME = 10


@router.get("/schedules/{schedule_id}", response_model=OneScheduleOut, responses=errors(404))
async def get_schedule(request: Request, caller: Viewer, schedule_id: ScheduleId) -> Json:
    """A schedule."""
    view = await services(request).schedules.get(caller, bare("sched_", schedule_id))
    return Json(OneScheduleOut(schedule=shapes.schedule_out(view)))


@router.put("/schedules/{schedule_id}", response_model=OneScheduleOut, responses=errors(404, *BODY))
async def replace_schedule(
    request: Request, caller: Editor, schedule_id: ScheduleId, body: ScheduleIn
) -> Json:
    """Change a schedule: all of it is as the body says from now on."""
    view = await services(request).schedules.replace(
        caller, bare("sched_", schedule_id), _terms(body)
    )
    return Json(OneScheduleOut(schedule=shapes.schedule_out(view)))


@router.delete("/schedules/{schedule_id}", response_model=DeletedScheduleOut, responses=errors(404))
async def delete_schedule(request: Request, caller: Editor, schedule_id: ScheduleId) -> Json:
    """Delete a schedule; its runs stay."""
    await services(request).schedules.delete(caller, bare("sched_", schedule_id))
    return Json(DeletedScheduleOut(success=True))


@router.post(
    "/schedules/{schedule_id}/pause", response_model=OneScheduleOut, responses=errors(404, *BODY)
)
async def pause_schedule(
    request: Request, caller: Operator, schedule_id: ScheduleId, body: NoteIn | None = None
) -> Json:
    """Let a schedule start nothing until it is resumed; runs that are open go on."""
    view = await services(request).schedules.pause(
        caller, bare("sched_", schedule_id), paused=True, note=body.note if body else None
    )
    return Json(OneScheduleOut(schedule=shapes.schedule_out(view)))


@router.post(
    "/schedules/{schedule_id}/resume", response_model=OneScheduleOut, responses=errors(404, *BODY)
)
async def resume_schedule(
    request: Request, caller: Operator, schedule_id: ScheduleId, body: NoteIn | None = None
) -> Json:
    """Let a schedule fire again; what it has missed is not made up for."""
    view = await services(request).schedules.pause(
        caller, bare("sched_", schedule_id), paused=False, note=body.note if body else None
    )
    return Json(OneScheduleOut(schedule=shapes.schedule_out(view)))


@router.post(
    "/schedules/{schedule_id}/trigger",
    status_code=202,
    response_model=TriggeredOut,
    responses=errors(404, 409),
)
async def trigger_schedule(request: Request, caller: Runner, schedule_id: ScheduleId) -> Json:
    """Let a schedule start a run now, paused or not."""
    schedule = bare("sched_", schedule_id)
    at = await services(request).schedules.trigger(caller, schedule)
    return Json(TriggeredOut(schedule_id=spelled("sched_", schedule), scheduled_at=iso(at)), 202)


@router.post(
    "/schedules/{schedule_id}/backfill",
    status_code=202,
    response_model=BackfilledOut,
    responses=errors(404, 409, *BODY),
)
async def backfill_schedule(
    request: Request, caller: Operator, schedule_id: ScheduleId, body: BackfillIn
) -> Json:
    """Start a run for every time of a range that is over."""
    schedule = bare("sched_", schedule_id)
    times = await services(request).schedules.backfill(
        caller, schedule, micros(body.start_at), micros(body.end_at), body.overlap
    )
    return Json(BackfilledOut(schedule_id=spelled("sched_", schedule), times=times), 202)


@router.get("/schedules/{schedule_id}/preview", response_model=PreviewOut, responses=errors(404))
async def preview_schedule(
    request: Request,
    caller: Viewer,
    schedule_id: ScheduleId,
    start: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    count: Annotated[int | None, Query(ge=1, le=MOST_TIMES)] = None,
) -> Json:
    """The next times of a schedule, in UTC and as its zone's clocks show them."""
    preview = await services(request).schedules.preview(
        caller,
        bare("sched_", schedule_id),
        micros(start) if start else None,
        micros(until) if until else None,
        count or (MOST_TIMES if until else _SOME),
    )
    return Json(shapes.preview_out(preview))


@router.get("/{workflow_id}/schedules", response_model=SchedulesOut, responses=errors(404))
async def list_schedules(
    request: Request,
    caller: Viewer,
    workflow_id: WorkflowId,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Json:
    """List the schedules of a workflow, newest first."""
    views, total = await services(request).schedules.page(
        caller, bare("wf_", workflow_id), limit, offset
    )
    return Json(SchedulesOut(schedules=[shapes.schedule_out(view) for view in views], total=total))


@router.post(
    "/{workflow_id}/schedules",
    status_code=201,
    response_model=CreatedScheduleOut,
    responses=errors(404, 409, *BODY),
)
async def create_schedule(
    request: Request,
    caller: Editor,
    workflow_id: WorkflowId,
    body: ScheduleIn,
    idempotency_key: IdempotencyKey = None,
) -> Json:
    """Create a schedule; it fires while the workflow is active."""
    workflow = bare("wf_", workflow_id)
    answered = await services(request).schedules.create(
        caller,
        workflow,
        _terms(body),
        once(
            request.headers.getlist("idempotency-key"),
            f"POST /api/workflows/{workflow}/schedules",
            body.model_dump(mode="json"),
        ),
        _created,
    )
    schedule = spelled("sched_", answered.made)
    headers = {"Location": f"/api/workflows/schedules/{schedule}"}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Json(answered.body, answered.status, headers)


def _created(row: ScheduleRow) -> Answered:
    body = CreatedScheduleOut(schedule_id=spelled("sched_", row.id))
    return Answered(row.id, 201, to_json(body))


def _terms(body: ScheduleIn) -> Terms:
    return Terms(
        cron_expression=body.cron_expression,
        timezone=body.timezone,
        input=body.input_data,
        overlap=body.overlap,
        catchup_window=body.catchup_window,
        paused=body.paused,
        note=body.note,
    )
