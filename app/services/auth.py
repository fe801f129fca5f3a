"""Who is calling: API keys, looked up in the store and remembered for a moment.

A revoked key works for `REMEMBERED` seconds at most, and not at all in the process that revoked it;
reliability §3.2.
"""

import time
from dataclasses import dataclass
from hashlib import sha256

from engine.errors import Forbidden, Unauthorized
from engine.roles import Role
from store import clock, keys, organisations
from store.database import Database, Tx
from store.keys import KeyRow

#: Seconds that a key which was found is trusted without another look.
REMEMBERED = 1.0
#: Keys that are remembered at once; more than that are looked up again.
_ROOM = 4_096
_LONGEST = 512
#: Microseconds between two notes of when a key was last used.
_USED = 60_000_000


class NoCredentials(Unauthorized):
    """An API key is needed."""


class RoleTooLow(Forbidden):
    """The key's role does not allow it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The key that a request came with."""

    org_id: str
    key_id: str
    role: Role
    key_name: str

    def needs(self, role: Role) -> None:
        """Refuse the caller when its key has a lower role.

        Raises:
            RoleTooLow: it has.
        """
        if not self.role.allows(role):
            needed = role if role is Role.ADMIN else f"{role} or higher"
            raise RoleTooLow(f"The key is {self.role}; this needs {needed}.")


class Auth:
    """Finds the caller of a request."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper
        self._known: dict[bytes, tuple[float, Caller]] = {}

    async def caller(self, authorization: list[str]) -> Caller:
        """The caller that the values of the `Authorization` header name.

        Raises:
            NoCredentials: there is none.
            Unauthorized: there is more than one, or its key is unknown, expired or revoked.
        """
        if not authorization:
            raise NoCredentials()
        if len(authorization) != 1:
            raise Unauthorized()
        scheme, _, token = authorization[0].partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST:
            raise Unauthorized()
        mark = sha256(token.encode()).digest()
        now = time.monotonic()
        known = self._known.get(mark)
        if known is not None and known[0] > now:
            return known[1]
        self._known.pop(mark, None)
        row = await self._database.read(lambda tx: keys.find(tx, token, self._pepper))
        if row is None:
            raise Unauthorized()
        await self._note_use(row)
        caller = Caller(row.org_id, row.id, row.role, row.name)
        if len(self._known) >= _ROOM:
            self._known.clear()
        self._known[mark] = (now + REMEMBERED, caller)
        return caller

    def forget(self, key_id: str) -> None:
        """Look the key up again when it comes next: it has been revoked."""
        self._known = {
            mark: known for mark, known in self._known.items() if known[1].key_id != key_id
        }

    async def _note_use(self, row: KeyRow) -> None:
        if row.last_used_at is None or row.last_used_at < clock.now() - _USED:
            await self._database.write(lambda tx: keys.touch(tx, row.id))

    async def ensure_admin(self, token: str) -> None:
        """Make that key an admin of the organisation `default`; both are made when missing."""

        def work(tx: Tx) -> None:
            org_id = organisations.ensure(tx, "default")
            keys.add(tx, org_id, "bootstrap", Role.ADMIN, token, self._pepper)

        await self._database.write(work)
