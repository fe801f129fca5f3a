"""`send_questionnaire`: ask somebody outside about a vendor. Source: seeds 000 and 001, DESIGN §8.

The answer comes as an event, which a `wait` step can wait for; decision 0013.
"""

import json
import time
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from activities.clients.delivery import Message, Secret, deliver
from activities.clients.mail import Address, Letter
from engine.outcomes import Artifact, Done
from engine.records import artifact_of, spelled_id
from store.ids import derived_id


class WebhookChannel(StepConfig):
    """By a request to a URL, signed as that of a `webhook` step."""

    type: Literal["webhook"]
    url: str = Field(description="http or https; private addresses are refused by default.")
    secret: Secret | None = Field(
        default=None, description="`whsec_` and base64; signs the message when given."
    )


class EmailChannel(StepConfig):
    """By mail, through the server that `SIGNALBOX_SMTP_URL` names."""

    type: Literal["email"]
    to: Address = Field(description="One address.")


class Config(StepConfig):
    """Asks somebody outside about a vendor.

    What is sent names the vendor, `questionnaire_response_id`, and the event to answer with, which
    is published with `POST /v1/events` and has that id in its data; see
    [questionnaires](../how-to/send-questionnaires.md). The id is the same on every attempt of the
    step, and so is `Idempotency-Key`, by which a receiver can drop what comes twice.
    """

    vendor_id: str = Field(description="The id of a vendor, with `cbvndr_` or without.")
    questionnaire: str = Field(min_length=1, max_length=200, description="Its name.")
    channel: Annotated[WebhookChannel | EmailChannel, Field(discriminator="type")] = Field(
        description='`{"type": "webhook", "url", "secret"?}` or `{"type": "email", "to"}`.'
    )
    context: JsonValue = Field(default=None, description="Sent along: a due date, questions, ….")
    answer_event: str = Field(
        default="Questionnaire.Answered",
        min_length=1,
        max_length=200,
        description="The name of the event that answers it.",
    )


async def run(config: Config, context: StepContext) -> Done:
    """Deliver it; the artifacts are the vendor and the response that is awaited."""
    vendor = await context.clients.records.vendor(context.org, config.vendor_id)
    response = f"cbqsrw_{derived_id(context.call.run, context.key)}"
    told: dict[str, JsonValue] = {
        "questionnaire": config.questionnaire,
        "questionnaire_response_id": response,
        "vendor": {"id": spelled_id("Vendor", vendor.id), "name": vendor.fields.get("name")},
        "context": config.context,
        "answer": {
            "event": config.answer_event,
            "data": {"questionnaire_response_id": response},
        },
    }
    match config.channel:
        case WebhookChannel(url=url, secret=secret):
            message = Message(url, told, secret=secret)
            await deliver(context.clients.http, message, context.key, context.timeout)
        case EmailChannel(to=to):
            letter = _letter(to, config.questionnaire, told)
            await context.clients.mail.send(letter, context.key, context.timeout)
    return Done(
        output={"questionnaire_response_id": response, "delivered_at": int(time.time())},
        artifacts=[
            artifact_of("Vendor", vendor.id, "trigger"),
            Artifact(artifact_type="questionnaire_response", id=response, role="result"),
        ],
    )


def _letter(to: str, questionnaire: str, told: dict[str, JsonValue]) -> Letter:
    subject = " ".join(questionnaire.split())
    text = json.dumps(told, ensure_ascii=False, indent=2)
    return Letter(to, subject, f"{subject}\n\n{text}\n")


STEP = StepType(
    config=Config,
    run=run,
    output='`{"questionnaire_response_id": "cbqsrw_…", "delivered_at": seconds since 1970}`.',
    errors="`vendor_not_found`, `http_status`, those of the [outgoing door](egress.md), "
    "`mail_not_configured`, `mail_refused` and `mail_failed`.",
    lane="short",
    secrets=True,
    per_entity=False,
)
