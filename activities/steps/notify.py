"""`notify`: tell somebody, by mail or by a request. Source: contracts §2.3."""

import json
import time
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, JsonValue, StrictBool, model_validator

from activities.base import StepConfig, StepContext, StepType
from activities.clients.delivery import Message, Secret, deliver
from activities.clients.mail import Address, Letter
from engine.outcomes import Done


class Config(StepConfig):
    """Tells somebody, by mail or by a request.

    Mail goes through the server that `SIGNALBOX_SMTP_URL` names. A request has `{"subject",
    "message", "run": {"id", "workflow_id", "workflow_name"}}` as its body, and is signed as that of
    a [`webhook`](#webhook) step. `Message-ID` and `Idempotency-Key` are made of the step's stable
    key, so that what comes twice can be dropped.

    In a batch each entity has its message. With `once` there is one message, when all of them are
    done, and instead of `entity` its texts see `batch`, which is `{"total", "completed",
    "failed"}`. Outside of batches `once` changes nothing.
    """

    channel: Literal["email", "webhook"] = Field(description="How they are told.")
    to: Address | None = Field(default=None, description="For `email`: one address.")
    url: str | None = Field(
        default=None,
        description="For `webhook`: http or https; private addresses are refused by default.",
    )
    subject: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="One line; the workflow's name when left out.",
    )
    message: JsonValue = Field(
        default=None,
        description="A text, or any value, which is written as JSON; when left out, which run it "
        "is and which entity, or how many entities are done.",
    )
    secret: Secret | None = Field(
        default=None, description="For `webhook`: `whsec_` and base64; signs it when given."
    )
    once: StrictBool = Field(
        default=False,
        description="Written as `true`: in a batch one message when all entities are done, not one "
        "for each.",
    )

    @model_validator(mode="after")
    def _is_one_channel(self) -> Self:
        needed, others = _KEYS[self.channel]
        if getattr(self, needed) is None:
            raise ValueError(f"'{self.channel}' needs '{needed}'")
        for key in others:
            if getattr(self, key) is not None:
                raise ValueError(f"'{self.channel}' takes no '{key}'")
        return self


#: What a channel needs, and what belongs to the other one.
_KEYS = {"email": ("to", ("url", "secret")), "webhook": ("url", ("to",))}


async def run(config: Config, context: StepContext) -> Done:
    """Deliver it under the step's key."""
    here = context.scope["run"]
    assert isinstance(here, dict)
    name = str(here["workflow_name"])
    subject = _line(config.subject or "") or _line(name)
    message = config.message
    if message is None:
        message = f"This is run {here['id']} of the workflow '{name}'{_about(context.scope)}."
    if config.to is not None:
        text = message if isinstance(message, str) else _written(message)
        letter = Letter(config.to, subject, f"{text}\n")
        await context.clients.mail.send(letter, context.key, context.timeout)
    elif config.url is not None:
        told: dict[str, JsonValue] = {
            "subject": subject,
            "message": message,
            "run": {key: here[key] for key in ("id", "workflow_id", "workflow_name")},
        }
        request = Message(config.url, told, secret=config.secret)
        await deliver(context.clients.http, request, context.key, context.timeout)
    return Done(output={"delivered_at": int(time.time())})


def _about(scope: Mapping[str, JsonValue]) -> str:
    """What the usual message adds of a batch, or of the record that it is about."""
    match scope:
        case {"batch": {"total": total, "completed": completed, "failed": failed}}:
            return f": of {total} entities {completed} are completed and {failed} have failed"
        case {"entity": {"id": id, "type": type}}:
            return f", about {type} {id}"
    return ""


def _line(text: str) -> str:
    return " ".join(text.split())


def _written(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


STEP = StepType(
    config=Config,
    run=run,
    output='`{"delivered_at": seconds since 1970}`.',
    errors="`http_status`, those of the [outgoing door](egress.md), `mail_not_configured`, "
    "`mail_refused` and `mail_failed`.",
    lane="short",
    reads_input=True,
    secrets=True,
    whole="once",
)
