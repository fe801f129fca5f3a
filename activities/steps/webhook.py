"""`webhook`: tell another service, signed so that it can believe it.

Source: contracts §3.4; headers and signature as Standard Webhooks has them. `webhook-id` is the
step's stable key, the same on every attempt, so that a receiver can drop duplicates.
"""

import json
import re
from datetime import UTC, datetime

from pydantic import Field, JsonValue, field_validator
from standardwebhooks import Webhook

from activities.base import ScalarText, StepConfig, StepContext, StepType
from activities.clients.http import HttpDoorError
from engine.errors import StepError
from engine.outcomes import Done

#: Standard Webhooks: 24 to 64 bytes.
_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,22}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


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
    secret: str | None = Field(
        default=None, description="`whsec_` and base64; signs the message when given."
    )

    @field_validator("secret")
    @classmethod
    def _is_a_secret(cls, secret: str | None) -> str | None:
        if secret is not None and not _SECRET.fullmatch(secret):
            raise ValueError("must be `whsec_` and 24 bytes or more in base64")
        return secret


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
        signed = Webhook(config.secret).sign(context.key, at, content)
        headers["webhook-signature"] = signed
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


STEP = StepType(
    config=Config,
    run=run,
    output='`{"status_code": 200}`.',
    errors="`http_status`, and those of the [outgoing door](egress.md).",
    lane="short",
    secrets=True,
)
