"""/v1/events: tell of something that happened, and see which runs it has started."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.envelope import Json, Runner, Viewer, envelope, services, to_json
from app.services.once import Answered, once_for_any_body
from app.services.published_events import EventView
from app.surfaces.run_by_name.errors import BODY, errors, render
from app.surfaces.run_by_name.events.schemas import (
    EventIn,
    EventOut,
    EventRunOut,
    PublishedOut,
    SubjectOut,
)
from app.surfaces.run_by_name.runs.schemas import RUN_WORDS
from app.surfaces.run_by_name.wire import IdempotencyKey, bare, seconds, spelled
from store.published import EventRow
from store.runs import RunHead

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=envelope(render))

EventId = Annotated[str, Path(description="`cbevt_` and 32 hex digits.")]


@router.post("", status_code=202, response_model=PublishedOut, responses=errors(400, *BODY))
async def publish_event(
    request: Request, caller: Runner, body: EventIn, idempotency_key: IdempotencyKey = None
) -> Json:
    """Publish an event; 202 once it is kept with the runs that it starts."""
    answered = await services(request).events.publish(
        caller,
        body.name,
        body.data,
        once_for_any_body(request.headers.getlist("idempotency-key"), "POST /v1/events"),
        _published,
    )
    headers = {"Idempotent-Replayed": "true"} if answered.replayed else {}
    return Json(answered.body, answered.status, headers)


@router.get("/{event_id}", response_model=EventOut, responses=errors(404))
async def get_event(request: Request, caller: Viewer, event_id: EventId) -> Json:
    """An event, and the first 500 runs that it has started."""
    view = await services(request).events.view(caller, bare("cbevt_", event_id))
    return Json(_out(view))


def _published(event: EventRow) -> Answered:
    out = PublishedOut(
        event_id=spelled("cbevt_", event.id),
        name=event.name,
        received_at=seconds(event.created_at),
    )
    return Answered(event.id, 202, to_json(out))


def _out(view: EventView) -> EventOut:
    row = view.row
    entity = None
    if row.entity_id is not None:
        entity = SubjectOut(
            id=row.entity_id, type=row.entity_type or "", fields=row.entity_fields or {}
        )
    return EventOut(
        event_id=spelled("cbevt_", row.id),
        name=row.name,
        received_at=seconds(row.created_at),
        data=row.data,
        entity=entity,
        runs=[_run_out(run) for run in view.runs],
    )


def _run_out(run: RunHead) -> EventRunOut:
    return EventRunOut(
        workflow_run_id=spelled("cbwr_", run.id),
        workflow_name=run.workflow_name,
        workflow_definition_id=spelled("cbwd_", run.workflow_id),
        status=RUN_WORDS[run.status],
        started_at=seconds(run.created_at),
    )
