"""`webhook`: tell another service, signed so that it can believe it.

Source: contracts §3.4; headers and signature as Standard Webhooks has them. `webhook-id` is the
step's stable key, the same on every attempt, so that a receiver can drop duplicates.
"""

import json
from datetime import UTC, datetime

from pydantic import Field, JsonValue
from standardwebhooks import Webhook

from activities.base import StepConfig, StepContext, StepType
from activities.clients.http import HttpDoorError
from engine.errors import StepError
from engine.outcomes import Done


class Config(StepConfig):
    """Where to, and what."""

    url: str = Field(description="http or https; private addresses are refused by default.")
    method: str = Field(default="POST", pattern="^(POST|PUT|PATCH)$")
    headers: dict[str, str] = Field(default={}, description="Sent besides the signed ones.")
    payload: JsonValue = Field(default=None, description="Sent as JSON.")
    secret: str | None = Field(
        default=None, description="`whsec_` and base64; signs the message when given."
    )


async def run(config: Config, context: StepContext) -> Done:
    """Deliver the payload; answer `{"status_code"}`. Anything but 2xx is a failure."""
    content = json.dumps(config.payload, ensure_ascii=False, separators=(",", ":"))
    at = datetime.now(UTC)
    headers = {
        **config.headers,
        "Content-Type": "application/json",
        "Idempotency-Key": context.key,
        "webhook-id": context.key,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if config.secret is not None:
        headers["webhook-signature"] = sign(config.secret, context.key, at, content)
    try:
        answer = await context.clients.http.request(
            config.method,
            config.url,
            headers=headers,
            content=content.encode(),
            timeout=context.timeout,
        )
    except HttpDoorError as error:
        raise StepError(error.code, str(error), retryable=error.retryable) from error
    if not 200 <= answer.status_code < 300:
        raise StepError(
            "http_status",
            f"The receiver answered {answer.status_code}.",
            retryable=answer.status_code >= 500 or answer.status_code in (408, 425, 429),
        )
    return Done(output={"status_code": answer.status_code})


def sign(secret: str, message_id: str, at: datetime, content: str) -> str:
    """The `webhook-signature` of a message.

    Raises:
        StepError: the secret is not base64; the message does not repeat it.
    """
    try:
        return Webhook(secret).sign(message_id, at, content)
    except (ValueError, RuntimeError) as error:
        raise StepError(
            "bad_secret", "The webhook's secret is not `whsec_` and base64.", retryable=False
        ) from error


STEP = StepType(config=Config, run=run, lane="short")
