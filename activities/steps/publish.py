"""`publish`: hand content to whoever shows it. Source: contracts §2.3."""

import time

from pydantic import Field, JsonValue

from activities.base import StepConfig, StepContext, StepType
from activities.clients.delivery import Message, Secret, deliver
from engine.outcomes import Done, Skip


class Target(StepConfig):
    """A service that takes content by request, signed as that of a `webhook` step."""

    url: str = Field(description="http or https; private addresses are refused by default.")
    secret: Secret | None = Field(
        default=None, description="`whsec_` and base64; signs the request when given."
    )


class Config(StepConfig):
    """Hands content to a service that shows it.

    The content is sent with POST, as JSON, and signed as that of a [`webhook`](#webhook) step.
    `webhook-id` and `Idempotency-Key` are the step's stable key, so that the receiver can publish
    once what comes twice.

    With `minSeoScore`, what has a lower score or none is not published, and the step is skipped.
    The score is `seoScore`, or else the field of that name in the content or in its `fields`.
    """

    target: Target = Field(description='`{"url", "secret"?}`.')
    content: JsonValue = Field(
        default=None,
        description="Any template; when left out, the record that started the run (`entity`), or "
        "else its `input`.",
    )
    min_seo_score: float | None = Field(
        default=None, alias="minSeoScore", ge=0, le=100, description="The lowest that will do."
    )
    seo_score: float | None = Field(
        default=None,
        alias="seoScore",
        description="The score; where the key is left out, that of the content.",
    )


async def run(config: Config, context: StepContext) -> Done | Skip:
    """Deliver the content under the step's key, unless its score is too low."""
    content = config.content if "content" in config.model_fields_set else _subject(context)
    least = config.min_seo_score
    if least is not None:
        given = "seo_score" in config.model_fields_set
        score = config.seo_score if given else _score_in(content)
        if score is None:
            return Skip(reason=f"It has no SEO score; {least:g} is the least.")
        if score < least:
            return Skip(reason=f"Its SEO score is {score:g}; {least:g} is the least.")
    message = Message(config.target.url, content, secret=config.target.secret)
    status = await deliver(context.clients.http, message, context.key, context.timeout)
    return Done(output={"status_code": status, "published_at": int(time.time())})


def _subject(context: StepContext) -> JsonValue:
    entity = context.scope.get("entity")
    return context.scope.get("input") if entity is None else entity


def _score_in(content: JsonValue) -> float | None:
    for place in (content, content.get("fields") if isinstance(content, dict) else None):
        score = place.get("seoScore") if isinstance(place, dict) else None
        if isinstance(score, int | float) and not isinstance(score, bool):
            return score
    return None


STEP = StepType(
    config=Config,
    run=run,
    output='`{"status_code": 200, "published_at": seconds since 1970}`.',
    errors="`http_status`, and those of the [outgoing door](egress.md).",
    lane="short",
    reads_input=True,
    secrets=True,
)
