"""`webhook`: tell another service, signed so that it can believe it. Source: contracts §3.4."""

from pydantic import Field, JsonValue

from activities.base import ScalarText, StepConfig, StepContext, StepType
from activities.clients.delivery import Message, Secret, deliver
from engine.outcomes import Done


class Config(StepConfig):
    """Tells another service, and signs what it says.

    The signature is that of [Standard Webhooks](https://www.standardwebhooks.com).
    `webhook-id` and `Idempotency-Key` are the step's stable key, so that the receiver can drop what
    comes twice.
    """

    url: str = Field(description="http or https; private addresses are refused by default.")
    method: str = Field(default="POST", pattern="^(POST|PUT|PATCH)$")
    headers: dict[str, ScalarText] = Field(default={}, description="Sent besides the signed ones.")
    payload: JsonValue = Field(default=None, description="Sent as JSON.")
    secret: Secret | None = Field(
        default=None, description="`whsec_` and base64; signs the message when given."
    )


async def run(config: Config, context: StepContext) -> Done:
    """Deliver the payload; answer `{"status_code"}`. Anything but 2xx is a failure."""
    message = Message(config.url, config.payload, config.method, config.headers, config.secret)
    status = await deliver(context.clients.http, message, context.key, context.timeout)
    return Done(output={"status_code": status})


STEP = StepType(
    config=Config,
    run=run,
    output='`{"status_code": 200}`.',
    errors="`http_status`, and those of the [outgoing door](egress.md).",
    lane="short",
    secrets=True,
)
