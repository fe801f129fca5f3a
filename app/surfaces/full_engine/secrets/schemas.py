"""What is taken and answered about secrets: never a value."""

from typing import Literal

from pydantic import SecretStr
from typing_extensions import TypedDict

from app.surfaces.full_engine.wire import In


class SecretIn(In):
    """The value to keep: text of 1 byte to 64 KiB."""

    value: SecretStr


class SecretOut(TypedDict):
    """A secret, by its name."""

    name: str
    created_at: str
    updated_at: str


class SecretsOut(TypedDict):
    """A page of secrets; `total` counts all pages."""

    secrets: list[SecretOut]
    total: int


class RemovedOut(TypedDict):
    """What was removed is no more."""

    success: Literal[True]
