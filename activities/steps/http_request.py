"""`http_request`: make an HTTP call and keep its answer.

Source: seed 004, contracts §3.4. The request carries the step's stable `Idempotency-Key` unless
the definition sets one.
"""

import json
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from activities.base import ScalarText, StepConfig, StepContext, StepType
from activities.clients.http import HttpAnswer, HttpDoorError
from engine.errors import StepError
from engine.outcomes import Done

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Config(StepConfig):
    """Makes an HTTP call and keeps its answer.

    Sends the step's stable key as `Idempotency-Key`, unless `headers` has one.
    """

    url: str = Field(description="http or https; private addresses are refused by default.")
    method: Method = "GET"
    headers: dict[str, ScalarText] = Field(default={}, description="Sent as they are.")
    params: dict[str, ScalarText] = Field(default={}, description="Query parameters.")
    body: JsonValue = Field(default=None, description="Text is sent as it is, the rest as JSON.")
    timeout: float | None = Field(
        default=None, gt=0, le=3_600, description="Seconds in all; at most the step's own timeout."
    )
    fail_on_status: bool = Field(default=True, description="Whether a status of 400 or more fails.")


async def run(config: Config, context: StepContext) -> Done:
    """Send the request; answer `{"status_code", "body"}`."""
    content, headers = encode_body(config.body, config.headers)
    if not any(name.lower() == "idempotency-key" for name in headers):
        headers["Idempotency-Key"] = context.key
    try:
        answer = await context.clients.http.request(
            config.method,
            config.url,
            headers=headers,
            params=config.params,
            content=content,
            timeout=min(config.timeout or context.timeout, context.timeout),
        )
    except HttpDoorError as error:
        raise StepError(error.code, str(error), retryable=error.retryable) from error
    if config.fail_on_status and answer.status_code >= 400:
        raise StepError(
            "http_status",
            f"{config.method} {urlsplit(config.url).netloc} answered {answer.status_code}.",
            retryable=answer.status_code >= 500 or answer.status_code in (408, 425, 429),
        )
    return Done(output={"status_code": answer.status_code, "body": decode_body(answer)})


def encode_body(body: JsonValue, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
    """The bytes of a body, and the headers with the content type that goes with them."""
    sent = dict(headers)
    if body is None:
        return None, sent
    typed = any(name.lower() == "content-type" for name in sent)
    if isinstance(body, str):
        kind, content = "text/plain; charset=utf-8", body.encode()
    else:
        kind = "application/json"
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    if not typed:
        sent["Content-Type"] = kind
    return content, sent


def decode_body(answer: HttpAnswer) -> JsonValue:
    """Parsed JSON where the answer says that it is, else text; undecodable bytes are replaced."""
    text = answer.content.decode("utf-8", "replace")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            parsed: JsonValue = json.loads(text)
        except ValueError:
            return text
        return parsed
    return text


STEP = StepType(
    config=Config,
    run=run,
    output='`{"status_code": 200, "body": …}`; the body is parsed where the answer says that it is '
    "JSON, and text otherwise.",
    errors="`http_status` (408, 425, 429 and 5xx can be retried), and those of the "
    "[outgoing door](egress.md).",
    lane="short",
    secrets=True,
)
