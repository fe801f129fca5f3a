"""What is taken and answered about API keys; contracts §1.1.2."""

from typing import Annotated

from fastapi import Path
from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from app.services.keys import LONGEST_LIFE
from app.surfaces.run_by_name.wire import In
from store.keys import LONGEST_REASON

KeyId = Annotated[str, Path(description="16 hex digits.")]
Life = Annotated[int, Field(strict=True, ge=1, le=LONGEST_LIFE)]
Reason = Annotated[str, StringConstraints(max_length=LONGEST_REASON, pattern=r"^[^\x00]*$")]


class ApiKeyIn(In):
    """A key to make. Scopes are not granted here, so a list of them must be empty."""

    name: str
    seconds_until_expiration: Life | None = None
    scopes: list[str] = Field(default=[])


class RevokeIn(In):
    """Why a key is revoked."""

    reason: Reason | None = None


class ApiKeyOut(TypedDict):
    """A key, without the key itself, which is not kept."""

    id: str
    name: str
    created_at: int
    last_used_at: int | None
    revoked: bool
    expired: bool
    scopes: list[str]
    created_by_clerk_user_id: str | None


class MintedApiKeyOut(ApiKeyOut):
    """A key that was made, and the key itself, which is answered this once."""

    secret: str


class ApiKeysOut(TypedDict):
    """All keys."""

    data: list[ApiKeyOut]
