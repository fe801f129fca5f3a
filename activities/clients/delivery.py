"""Messages that go to another service by HTTP, signed so that it can believe them.

Headers and signature are those of Standard Webhooks. `webhook-id` and `Idempotency-Key` are the
step's stable key, the same on every attempt, so that a receiver can drop what comes twice.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, JsonValue
from standardwebhooks import Webhook

from activities.clients.http import HttpDoor, HttpDoorError
from engine.errors import StepError

#: Standard Webhooks: 24 to 64 bytes.
_SECRET = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,22}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def is_a_secret(text: str) -> bool:
    """Whether messages can be signed with it."""
    return _SECRET.fullmatch(text) is not None


def _checked(text: str) -> str:
    if not is_a_secret(text):
        raise ValueError("must be `whsec_` and 24 bytes or more in base64")
    return text


#: In a configuration: what messages are signed with.
Secret = Annotated[str, AfterValidator(_checked)]


@dataclass(frozen=True)
class Message:
    """What is sent where; `secret` signs it when there is one."""

    url: str
    payload: JsonValue
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = field(default=None, repr=False)


async def deliver(http: HttpDoor, message: Message, key: str, timeout: float) -> int:
    """Send it; the status of the answer, which is a 2xx.

    Args:
        http: The door that it goes through.
        message: What is sent.
        key: The same each time that the same message is sent.
        timeout: Seconds for all of it.

    Raises:
        StepError: `http_status`, or a code of the door.
    """
    content = as_json(message.payload)
    at = datetime.now(UTC)
    headers = {
        **message.headers,
        "Content-Type": "application/json",
        "Idempotency-Key": key,
        "webhook-id": key,
        "webhook-timestamp": str(int(at.timestamp())),
    }
    if message.secret is not None:
        headers["webhook-signature"] = Webhook(message.secret).sign(key, at, content)
    return await hand_over(
        http, message.method, message.url, headers, content.encode(), timeout=timeout
    )


def as_json(value: JsonValue) -> str:
    """The value as it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def hand_over(
    http: HttpDoor,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    timeout: float,
) -> int:
    """Send what has to be taken; the status of the answer, which is a 2xx.

    Raises:
        StepError: `http_status`, or a code of the door.
    """
    try:
        answer = await http.request(method, url, headers=headers, content=content, timeout=timeout)
    except HttpDoorError as error:
        raise StepError(error.code, str(error), retryable=error.retryable) from error
    if not 200 <= answer.status_code < 300:
        raise StepError(
            "http_status",
            f"The receiver answered {answer.status_code}.",
            retryable=answer.status_code >= 500 or answer.status_code in (408, 425, 429),
        )
    return answer.status_code
