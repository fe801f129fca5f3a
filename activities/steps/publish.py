"""`publish`: hand content to whoever shows it. Source: contracts §2.3."""

import time
from typing import Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, JsonValue, Tag, model_validator

from activities.base import StepConfig, StepContext, StepType
from activities.clients.buckets import Content
from activities.clients.delivery import Message, Secret, deliver
from engine.bucket import secrets_of
from engine.outcomes import Done, EntityChange, Skip


class Target(StepConfig):
    """A service that takes content by request, signed as that of a `webhook` step."""

    url: str = Field(description="http or https; private addresses are refused by default.")
    secret: Secret | None = Field(
        default=None, description="`whsec_` and base64; signs the request when given."
    )


def _is_no_url(name: str) -> str:
    if "/" in name:
        raise ValueError("a text names a bucket; a service is written as {'url': …}")
    return name


BucketName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_is_no_url)]


def _form(target: object) -> str:
    return "named" if isinstance(target, str) else "written"


class Config(StepConfig):
    """Hands content to a service that shows it, or puts it into a bucket.

    A `target` is `{"url", "secret"?}` or the name of a [bucket](api-buckets.md). To a service the
    content is sent with POST, as JSON, and signed as that of a [`webhook`](#webhook) step.
    `webhook-id` and `Idempotency-Key` are the step's stable key, so that the receiver can publish
    once what comes twice. In a bucket it is an object called after the record, which is replaced
    when it is published again.

    With `minSeoScore`, what has a lower score or none is not published, and the step is skipped.
    The score is `seoScore`, or else the field of that name in the content or in its `fields`.

    In a batch the entity is marked as published: `publishedAt` says when.
    """

    bucket_id: BucketName | None = Field(
        default=None,
        alias="bucketId",
        description="The id or the name of a bucket; instead of `target`.",
    )
    target: (
        Annotated[
            Annotated[Target, Tag("written")] | Annotated[BucketName, Tag("named")],
            Discriminator(_form),
        ]
        | None
    ) = Field(default=None, description="Where it goes; one of `target` and `bucketId`.")
    content: JsonValue = Field(
        default=None,
        description="Any template; when left out, the record that the run or the batch's lane is "
        "about (`entity`), or else `input`.",
    )
    min_seo_score: float | None = Field(
        default=None, alias="minSeoScore", ge=0, le=100, description="The lowest that will do."
    )
    seo_score: float | None = Field(
        default=None,
        alias="seoScore",
        description="The score; where the key is left out, that of the content.",
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if (self.target is None) == (self.bucket_id is None):
            raise ValueError("needs one of 'target' and 'bucketId'")
        return self


async def run(config: Config, context: StepContext) -> Done | Skip:
    """Hand the content over under the step's key, unless its score is too low."""
    content = config.content
    if "content" not in config.model_fields_set:
        content = context.scope.get("input") if context.entity is None else context.entity
    least = config.min_seo_score
    if least is not None:
        given = "seo_score" in config.model_fields_set
        score = config.seo_score if given else _score_in(content)
        if score is None:
            return Skip(reason=f"It has no SEO score; {least:g} is the least.")
        if score < least:
            return Skip(reason=f"Its SEO score is {score:g}; {least:g} is the least.")
    if isinstance(config.target, Target):
        message = Message(config.target.url, content, secret=config.target.secret)
        status = await deliver(context.clients.http, message, context.key, context.timeout)
        told: dict[str, JsonValue] = {"status_code": status}
    else:
        told = await _put(config.bucket_id or config.target or "", content, context)
    output: JsonValue = {**told, "published_at": int(time.time())}
    return Done(output=output, entity=EntityChange(published=True))


async def _put(named: str, content: JsonValue, context: StepContext) -> dict[str, JsonValue]:
    """Put it into a bucket; what is to be told of that."""
    buckets = context.clients.buckets
    row = await buckets.find(context.org, named)
    secrets = await context.secrets.resolve(*secrets_of(row.bucket))
    one = Content(_name(context), content, context.key, secrets)
    done = await buckets.put(row, one, context.timeout)
    told: dict[str, JsonValue] = {"bucket": row.name}
    if done.status_code is not None:
        told["status_code"] = done.status_code
    if done.object is not None:
        told["object"] = done.object
    return told


def _name(context: StepContext) -> str:
    """What the object is called: the same each time that the step is carried out."""
    if context.entity is not None:
        return str(context.entity.get("id"))
    place = (context.call.run, context.step, context.call.place)
    return "-".join(part for part in place if part)


def _score_in(content: JsonValue) -> float | None:
    for place in (content, content.get("fields") if isinstance(content, dict) else None):
        score = place.get("seoScore") if isinstance(place, dict) else None
        if isinstance(score, int | float) and not isinstance(score, bool):
            return score
    return None


STEP = StepType(
    config=Config,
    run=run,
    output='`{"status_code": 200, "published_at": seconds since 1970}`; of a bucket also '
    "`bucket`, its name, and of one that holds objects `object`, the name of the object. A file "
    "has no `status_code`.",
    errors="`http_status`, and those of the [outgoing door](egress.md); of a bucket also "
    "`bucket_not_found`, `files_not_configured`, `bad_object_name`, `secret_unfit`, "
    "`secret_not_found` and the other codes of [secrets](api-secrets.md) (none is retried), and "
    "`file_not_written`.",
    lane="short",
    reads_input=True,
    secrets=True,
)
