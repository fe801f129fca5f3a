"""Where `publish` steps put content, as an organisation says it.

    {"kind": "webhook", "config": {"url", "secret"?}}
    {"kind": "s3", "config": {"bucket", "region", "accessKeyId", "secretAccessKey", …}}
    {"kind": "file", "config": {"prefix"?}}

A secret is never in it, but the name of one. Source: contracts §2.3.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from engine.errors import Invalid, Problem
from engine.records import is_url
from engine.wording import said

Kind = Literal["webhook", "s3", "file"]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


def _is_a_url(text: str) -> str:
    if not is_url(text):
        raise ValueError("must be an http or https URL")
    return text


def _is_an_endpoint(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("must have neither a query nor a fragment")
    return text


def _is_a_prefix(text: str) -> str:
    parts = text.split("/") if text else []
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("must be names joined by '/', none of them '.' or '..'")
    return text


Url = Annotated[str, StringConstraints(max_length=2_000), AfterValidator(_is_a_url)]
#: What the name of an object begins with: names joined by slashes.
Prefix = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f\\]*$"),
    AfterValidator(_is_a_prefix),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class WebhookConfig(_Strict):
    """A service that takes content by request.

    Attributes:
        secret: of the one that requests are signed with.
    """

    url: Url
    secret: SecretName | None = None


class S3Config(_Strict):
    """A bucket of S3, or of a store that speaks its language.

    Attributes:
        endpoint: where the store is; None for that of the region at AWS.
        path_style: the bucket's name is in the path and not in the host; None for what is usual.
    """

    endpoint: Annotated[Url, AfterValidator(_is_an_endpoint)] | None = None
    bucket: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$")
    region: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    prefix: Prefix = ""
    access_key_id: SecretName
    secret_access_key: SecretName
    path_style: bool | None = None

    @property
    def url(self) -> str:
        """Where its objects are, without a slash at the end."""
        base = (self.endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")
        # Other stores are mostly reached by an address, which has no names below it.
        usual = self.endpoint is not None
        if usual if self.path_style is None else self.path_style:
            return f"{base}/{self.bucket}"
        scheme, _, rest = base.partition("://")
        return f"{scheme}://{self.bucket}.{rest}"


class FileConfig(_Strict):
    """Files in the directory that the deployment names."""

    prefix: Prefix = ""


class WebhookBucket(_Strict):
    """A bucket of this kind."""

    kind: Literal["webhook"]
    config: WebhookConfig


class S3Bucket(_Strict):
    """A bucket of this kind."""

    kind: Literal["s3"]
    config: S3Config


class FileBucket(_Strict):
    """A bucket of this kind."""

    kind: Literal["file"]
    config: FileConfig


Bucket = Annotated[WebhookBucket | S3Bucket | FileBucket, Field(discriminator="kind")]
_BUCKET: TypeAdapter[Bucket] = TypeAdapter(Bucket)


def secrets_of(bucket: Bucket) -> list[str]:
    """The names of the secrets that it needs."""
    match bucket.config:
        case WebhookConfig(secret=secret):
            return [] if secret is None else [secret]
        case S3Config(access_key_id=key_id, secret_access_key=key):
            return [key_id, key]
        case FileConfig():
            return []


def written(bucket: Bucket) -> dict[str, Any]:
    """The `config` of a bucket as its author wrote it."""
    return bucket.config.model_dump(by_alias=True, exclude_unset=True)


def to_text(bucket: Bucket) -> str:
    """What is kept of a bucket."""
    return bucket.model_dump_json(by_alias=True, exclude_unset=True)


def of_text(text: str) -> Bucket:
    """The bucket that was kept so."""
    return _BUCKET.validate_json(text)


def bucket_of(kind: str, config: dict[str, Any], path: str) -> Bucket:
    """The bucket of a kind and a `config`.

    Args:
        kind: one of `Kind`.
        config: what its author wrote.
        path: where that is, for what is said of it.

    Raises:
        Invalid: the `config` is none of this kind; the problems say where.
    """
    try:
        return _BUCKET.validate_python({"kind": kind, "config": config}, strict=True)
    except ValidationError as error:
        found = [
            (".".join([path, *map(str, one["loc"][2:])]), said(one))
            for one in error.errors(include_url=False, include_input=False)
        ]
        problems = [Problem(f"{where}: {text}", path=where) for where, text in found]
        raise Invalid(
            f"The config is none of a bucket of kind '{kind}'.", problems=problems
        ) from None
