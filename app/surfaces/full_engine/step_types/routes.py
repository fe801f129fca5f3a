"""/api/workflows: the step types."""

from fastapi import APIRouter

from activities.registry import step_types
from app.envelope import Json, Viewer, envelope
from app.services.language import config_schema
from app.surfaces.full_engine.errors import errors, render
from app.surfaces.full_engine.step_types.schemas import StepTypeOut, StepTypesOut

router = APIRouter(prefix="/api/workflows", tags=["workflows"], route_class=envelope(render))


@router.get("/step-types", response_model=StepTypesOut, responses=errors())
async def list_step_types(caller: Viewer) -> Json:
    """List what a step can be, each with the schema of its configuration."""
    return Json(
        StepTypesOut(
            step_types=[
                StepTypeOut(
                    type=name,
                    description=(schema := config_schema(step)).get("description", ""),
                    output=step.output,
                    errors=step.errors,
                    lane=step.lane,
                    timeout=step.timeout,
                    per_entity=step.per_entity,
                    config_schema=schema,
                )
                for name, step in step_types().items()
            ]
        )
    )
