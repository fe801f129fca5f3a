"""API keys. The key itself is never kept: only its HMAC under the deployment's pepper.

A key has 256 bits, so a fast hash is right: there is nothing to guess, and a slow one would let
anybody keep the processors busy. Source: DESIGN §5.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select, update

from engine.errors import Conflict, NotFound
from engine.roles import Role
from store.clock import MINUTE, now
from store.database import Tx, insert
from store.tables import api_keys

#: Compared with where the id is not known, so that both cases take the same time.
_NOBODY = "0" * 64
_PREFIX = "sb_"


@dataclass(frozen=True)
class KeyRow:
    """What may be shown of a key. Times are microseconds UTC."""

    id: str
    org_id: str
    name: str
    role: Role
    created_at: int
    last_used_at: int | None
    expires_at: int | None
    revoked_at: int | None


def new_token() -> str:
    """A key to hand out once: `sb_` and 43 characters that carry 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def key_id(token: str) -> str:
    """What the key is looked up by: 16 hex digits that do not give it away."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()[:16]


def digest(token: str, pepper: bytes) -> str:
    """What is kept of the key: HMAC-SHA256 in hex."""
    return hmac.digest(pepper, token.encode(errors="surrogatepass"), "sha256").hex()


def add(tx: Tx, org_id: str, name: str, role: Role, token: str, pepper: bytes) -> KeyRow:
    """Let the token in; one that is known already keeps its row, role and revocation.

    Its digest is renewed all the same, so that a deployment's own key outlives a new pepper.

    Raises:
        Conflict: The token belongs to another organisation.
    """
    row = tx.execute(
        insert(tx, api_keys)
        .values(
            id=key_id(token),
            org_id=org_id,
            name=name,
            role=role,
            digest=digest(token, pepper),
            created_at=now(),
        )
        .on_conflict_do_update(
            index_elements=["id"],
            set_={"digest": digest(token, pepper)},
            where=api_keys.c.org_id == org_id,
        )
        .returning(api_keys)
    ).one_or_none()
    if row is None:
        raise Conflict("The key belongs to another organisation.", code="key_taken")
    return _row(row)


def find(tx: Tx, token: str, pepper: bytes) -> KeyRow | None:
    """The key that the token is, unless it is unknown, revoked or expired."""
    row = tx.execute(select(api_keys).where(api_keys.c.id == key_id(token))).one_or_none()
    expected = row.digest if row is not None else _NOBODY
    if not hmac.compare_digest(digest(token, pepper), expected) or row is None:
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now()):
        return None
    return _row(row)


def touch(tx: Tx, key_id: str) -> None:
    """Note that the key was used; at most once a minute, so that reads do not become writes."""
    at = now()
    last = api_keys.c.last_used_at
    tx.execute(
        update(api_keys)
        .where(api_keys.c.id == key_id, or_(last.is_(None), last <= at - MINUTE))
        .values(last_used_at=at)
    )


def revoke(tx: Tx, org_id: str, key_id: str) -> None:
    """Let the key in no more, from the next request on. A second time changes nothing.

    Raises:
        NotFound: The organisation has no such key.
    """
    mine = (api_keys.c.id == key_id) & (api_keys.c.org_id == org_id)
    if tx.scalar(select(api_keys.c.id).where(mine)) is None:
        raise NotFound("There is no such key.", code="key_not_found")
    tx.execute(
        update(api_keys).where(mine, api_keys.c.revoked_at.is_(None)).values(revoked_at=now())
    )


def page(tx: Tx, org_id: str) -> list[KeyRow]:
    """The organisation's keys, newest first, the revoked ones too."""
    rows = tx.execute(
        select(api_keys)
        .where(api_keys.c.org_id == org_id)
        .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
    )
    return [_row(row) for row in rows]


def _row(row: Row[Any]) -> KeyRow:
    return KeyRow(
        id=row.id,
        org_id=row.org_id,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
