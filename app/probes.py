"""The two public probes: alive, and able to serve a run from end to end."""

from typing import Literal

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from app.envelope import Json, services

router = APIRouter(tags=["probes"])


class Alive(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Ready(TypedDict):
    """What the process depends on, and whether all of it answers."""

    status: Literal["ready", "unready"]
    database: bool
    temporal: bool
    worker: bool


@router.get("/healthz", response_model=Alive)
async def healthz() -> Json:
    """Whether the process is alive."""
    return Json(Alive(status="ok"))


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready}})
async def readyz(request: Request) -> Json:
    """Whether database and Temporal answer and a worker was seen in the last ten seconds."""
    report = await services(request).health.report()
    body = Ready(
        status="ready" if report.ready else "unready",
        database=report.database,
        temporal=report.temporal,
        worker=report.worker,
    )
    return Json(body, 200 if report.ready else 503)
