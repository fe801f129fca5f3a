"""`launch_assessment`: begin an assessment of a vendor. Source: contracts A-5, DESIGN §8."""

from pydantic import Field

from activities.base import StepConfig, StepContext, StepType
from engine.outcomes import Done
from engine.records import artifact_of, spelled_id


class Config(StepConfig):
    """Begins an assessment of a vendor, as `POST /v1/assessments` does.

    It publishes `Assessment.Created`. However often the step is attempted, there is one assessment.
    """

    vendor_id: str = Field(description="The id of a vendor, with `cbvndr_` or without.")
    control_set_ids: list[str] = Field(
        default=[], max_length=1_000, description="What it is assessed by."
    )
    service_ids: list[str] = Field(
        default=[], max_length=1_000, description="Ids of services, with `cbsvc_` or without."
    )
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="The vendor's when left out."
    )


async def run(config: Config, context: StepContext) -> Done:
    """Make it; the artifacts are the vendor and the assessment."""
    row = await context.clients.assessments.launch(
        context.call,
        context.org,
        vendor=config.vendor_id,
        services=config.service_ids,
        control_set_ids=config.control_set_ids,
        name=config.name,
    )
    return Done(
        output={"assessment_id": spelled_id("Assessment", row.id)},
        artifacts=[
            artifact_of("Vendor", row.vendor_id, "trigger"),
            artifact_of("Assessment", row.id, "result"),
        ],
    )


STEP = StepType(
    config=Config,
    run=run,
    output='`{"assessment_id": "cbqsrw_…"}`.',
    errors="`vendor_not_found`, `service_not_found` (neither retried).",
    lane="short",
    per_entity=False,
)
