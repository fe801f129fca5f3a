"""What is taken and answered about API keys: the key itself once, when it is made."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, Field, StringConstraints
from typing_extensions import TypedDict

from app.services.keys import LONGEST_LIFE, is_name
from app.surfaces.full_engine.wire import In
from engine.roles import Role
from store.keys import LONGEST_NAME, LONGEST_REASON

KeyId = Annotated[str, Path(description="16 hex digits.")]


def _is_name(name: str) -> str:
    if not is_name(name):
        raise ValueError("a name has printable characters only, and one that is seen")
    return name


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), AfterValidator(_is_name)
]


class KeyIn(In):
    """A key to make: a name, what it may do, and for how long if not for ever."""

    name: Name
    role: Role
    seconds_until_expiration: Annotated[int, Field(strict=True, ge=1, le=LONGEST_LIFE)] | None = (
        None
    )


class RevocationIn(In):
    """Why a key is revoked."""

    reason: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=LONGEST_REASON, pattern=r"^[^\x00]+$"),
        ]
        | None
    ) = None


class KeyOut(TypedDict):
    """A key, without the key itself, which is not kept."""

    id: str
    name: str
    role: Role
    created_at: str
    created_by: str | None
    last_used_at: str | None
    expires_at: str | None
    expired: bool
    revoked_at: str | None
    revoked_reason: str | None


class OneKeyOut(TypedDict):
    """One key."""

    key: KeyOut


class MintedKeyOut(TypedDict):
    """A key that was made, and its secret, which is answered this once."""

    id: str
    key: KeyOut
    secret: str


class KeysOut(TypedDict):
    """A page of keys; `total` counts all pages."""

    keys: list[KeyOut]
    total: int
