"""What is taken and answered about events."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.run_by_name.wire import In
from engine.records import EVENT_NAME

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=EVENT_NAME)]


class EventIn(In):
    """An event: its name, as in `Order.Placed`, and what it says."""

    name: Name
    data: dict[str, Any] = Field(default={})


class PublishedOut(TypedDict):
    """An event that was published."""

    event_id: str
    name: str
    received_at: int


class EventRunOut(TypedDict):
    """A run that an event has started."""

    workflow_run_id: str
    workflow_name: str
    workflow_definition_id: str
    status: str
    started_at: int


class SubjectOut(TypedDict):
    """The record that an event is about, as it was then."""

    id: str
    type: str
    fields: dict[str, Any]


class EventOut(PublishedOut):
    """An event, and the first 500 runs that it has started."""

    data: dict[str, Any]
    entity: SubjectOut | None
    runs: list[EventRunOut]
