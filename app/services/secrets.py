"""Things done to secrets: keep, remove, list by name. A value that went in never comes out here."""

from dataclasses import dataclass

from app.services.auth import Caller
from engine.errors import Invalid, Problem, Unavailable
from store import secrets
from store.database import Database
from store.sealing import Keyring
from store.secrets import SecretRow

#: Bytes of a value.
LARGEST = 64 * 1024
#: What a name looks like: that of a variable, because expressions write `secrets.NAME`.
NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"


@dataclass(frozen=True)
class Kept:
    """A secret that was kept; `new` when there was none of its name."""

    row: SecretRow
    new: bool


class Secrets:
    """The secrets of every organisation, each through its callers."""

    def __init__(self, database: Database, ring: Keyring) -> None:
        self._database = database
        self._ring = ring

    async def put(self, caller: Caller, name: str, value: str) -> Kept:
        """Keep a value under a name, in place of the one that was there.

        Raises:
            Invalid: the value is empty or too large; the message does not show it.
            Unavailable: `secrets_not_configured`, the deployment has no key.
        """
        check(value)
        require(self._ring)
        return Kept(
            *await self._database.write(
                lambda tx: secrets.put(tx, caller.org_id, name, value, self._ring)
            )
        )

    async def remove(self, caller: Caller, name: str) -> None:
        """Forget a secret.

        Raises:
            NotFound: the caller's organisation has none of this name.
        """
        await self._database.write(lambda tx: secrets.remove(tx, caller.org_id, name))

    async def page(self, caller: Caller, limit: int, offset: int) -> tuple[list[SecretRow], int]:
        """By name, and how many there are in all."""
        return await self._database.read(
            lambda tx: secrets.page(tx, caller.org_id, limit=limit, offset=offset)
        )


def check(value: str) -> None:
    """See that a value may be kept.

    Raises:
        Invalid: it is empty, larger than 64 KiB, or no Unicode text; the message does not show it.
    """
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= LARGEST:
        message = f"The value of a secret is text of 1 to {LARGEST:,} bytes."
        raise Invalid(message, problems=[Problem(message, path="body.value")])


def require(ring: Keyring) -> None:
    """See that there is a key to seal with.

    Raises:
        Unavailable: `secrets_not_configured`.
    """
    if not ring:
        raise Unavailable(
            "Secrets cannot be kept: SIGNALBOX_SECRETS_KEY is not set.",
            code="secrets_not_configured",
        )
