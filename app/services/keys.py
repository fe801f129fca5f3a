"""Things done to API keys: make, list, rotate, revoke.

The key itself is answered once, when it is made; no log, error or record has it.
"""

import re
from dataclasses import dataclass, field

from app.services.auth import Auth, Caller
from engine.errors import Invalid, Problem
from engine.roles import Role
from store import clock, keys
from store.database import Database, Tx
from store.keys import LONGEST_NAME, KeyRow

#: Seconds that a key may live at most, if it is to end at all: a hundred years.
LONGEST_LIFE = 100 * 365 * 24 * 3600
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Minted:
    """A key that was made, and the key itself, which nobody can find out again."""

    row: KeyRow
    token: str = field(repr=False)


class Keys:
    """The keys of every organisation, each through its admins."""

    def __init__(self, database: Database, auth: Auth, pepper: bytes) -> None:
        self._database = database
        self._auth = auth
        self._pepper = pepper

    async def create(
        self, caller: Caller, name: str, role: Role, seconds: int | None = None
    ) -> Minted:
        """Make a key of the caller's organisation; with `seconds`, one that ends by itself.

        Raises:
            Invalid: the name cannot be (`invalid_name`), or the seconds are too few or too many.
        """
        name, expires_at = named(name), end_of(seconds)
        token = keys.new_token()

        def work(tx: Tx) -> KeyRow:
            return keys.add(
                *(tx, caller.org_id, name, role, token, self._pepper),
                expires_at=expires_at,
                created_by=caller.key_id,
            )

        return Minted(await self._database.write(work), token)

    async def get(self, caller: Caller, key_id: str) -> KeyRow:
        """The key, also one that is revoked.

        Raises:
            NotFound: the caller's organisation has none of this id.
        """
        return await self._database.read(lambda tx: keys.get(tx, caller.org_id, _known(key_id)))

    async def page(
        self, caller: Caller, limit: int | None, offset: int
    ) -> tuple[list[KeyRow], int]:
        """Newest first, and how many there are in all."""
        return await self._database.read(
            lambda tx: keys.page(tx, caller.org_id, limit=limit, offset=offset)
        )

    async def rotate(self, caller: Caller, key_id: str) -> Minted:
        """Put a new key in the place of one, which lets nobody in any more.

        Raises:
            NotFound: the caller's organisation has none of this id.
            Conflict: it is revoked or has expired.
        """
        token = keys.new_token()

        def work(tx: Tx) -> KeyRow:
            return keys.rotate(
                *(tx, caller.org_id, _known(key_id), token, self._pepper), rotated_by=caller.key_id
            )

        row = await self._database.write(work)
        self._auth.forget(key_id)
        return Minted(row, token)

    async def revoke(self, caller: Caller, key_id: str, reason: str | None) -> KeyRow:
        """Let the key in no more; a second time changes nothing.

        Raises:
            NotFound: the caller's organisation has none of this id.
            Conflict: it is the organisation's last admin key.
        """
        row = await self._database.write(
            lambda tx: keys.revoke(
                tx, caller.org_id, _known(key_id), reason=reason, spare_admin=True
            )
        )
        self._auth.forget(key_id)
        return row


def is_name(name: str) -> bool:
    """Whether a key may be called so: 1 to `LONGEST_NAME` printable characters, some visible."""
    return 1 <= len(name.strip()) <= LONGEST_NAME and name.isprintable()


def named(name: str) -> str:
    """The name as it is kept, without space around it.

    Raises:
        Invalid: `invalid_name`, it is none.
    """
    if not is_name(name):
        message = f"The name of a key is 1 to {LONGEST_NAME} printable characters."
        raise Invalid(message, code="invalid_name")
    return name.strip()


def _known(key_id: str) -> str:
    """The id; what is none becomes one that nothing has, as no database takes any text."""
    return key_id if _ID.fullmatch(key_id) else "-"


def end_of(seconds: int | None) -> int | None:
    """When a key ends that lives for so many seconds from now: microseconds UTC, or never.

    Raises:
        Invalid: they are not 1 to `LONGEST_LIFE`.
    """
    if seconds is None:
        return None
    if not 1 <= seconds <= LONGEST_LIFE:
        message = f"seconds_until_expiration is 1 to {LONGEST_LIFE}."
        problem = Problem(message, path="body.seconds_until_expiration")
        raise Invalid(message, problems=[problem])
    return clock.now() + seconds * clock.SECOND
