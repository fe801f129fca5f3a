"""API keys. The key itself is never kept: only its HMAC under the deployment's pepper.

A key has 256 bits, so a fast hash is right: there is nothing to guess, and a slow one would let
anybody keep the processors busy. Source: DESIGN §5.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, or_, select, update

from engine.errors import Conflict, NotFound
from engine.roles import Role
from store import places
from store.clock import MINUTE, SECOND, now
from store.database import Tx, insert
from store.tables import api_keys

#: Compared with where the id is not known, so that both cases take the same time.
_NOBODY = "0" * 64
_PREFIX = "sb_"
#: Characters of a name, and of the reason of a revocation.
LONGEST_NAME = 200
LONGEST_REASON = 500
_ROTATED = re.compile(r" \(rotated \d{4}-\d{2}-\d{2}\)$")


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
    revoked_reason: str | None
    created_by: str | None

    @property
    def expired(self) -> bool:
        """Its time is over."""
        return self.expires_at is not None and self.expires_at <= now()


def new_token() -> str:
    """A key to hand out once: `sb_` and 43 characters that carry 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def key_id(token: str) -> str:
    """What the key is looked up by: 16 hex digits that do not give it away."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()[:16]


def digest(token: str, pepper: bytes) -> str:
    """What is kept of the key: HMAC-SHA256 in hex."""
    return hmac.digest(pepper, token.encode(errors="surrogatepass"), "sha256").hex()


def add(
    tx: Tx,
    org_id: str,
    name: str,
    role: Role,
    token: str,
    pepper: bytes,
    *,
    expires_at: int | None = None,
    created_by: str | None = None,
) -> KeyRow:
    """Let the token in; one that is known already keeps its row, role and revocation.

    Its digest is renewed all the same, so that a deployment's own key outlives a new pepper.

    Args:
        tx: The transaction.
        org_id: Whose key it is.
        name: What it is called in lists.
        role: What it may do.
        token: The key itself.
        pepper: The deployment's.
        expires_at: Microseconds UTC from which it is let in no more; None for never.
        created_by: The id of the key that makes this one, if one does.

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
            expires_at=expires_at,
            created_by=created_by,
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


def get(tx: Tx, org_id: str, key_id: str) -> KeyRow:
    """The key of this id, also a revoked one.

    Raises:
        NotFound: The organisation has no such key.
    """
    row = tx.execute(select(api_keys).where(_is(org_id, key_id))).one_or_none()
    if row is None:
        raise NotFound("There is no such key.", code="api_key_not_found")
    return _row(row)


def revoke(
    tx: Tx, org_id: str, key_id: str, *, reason: str | None = None, spare_admin: bool = False
) -> KeyRow:
    """Let the key in no more, from now on. A second time changes nothing, the reason neither.

    Args:
        tx: The transaction.
        org_id: Whose key it is.
        key_id: Which.
        reason: Why, for those who look at the key later; up to 500 characters.
        spare_admin: Refuse the last admin key that still lets somebody in.

    Raises:
        NotFound: The organisation has no such key.
        Conflict: It is that last admin key (`last_admin_key`).
    """
    # Two admins who revoke each other's key at once must not both be right.
    places.lock(tx, org_id)
    row = get(tx, org_id, key_id)
    if row.revoked_at is not None:
        return row
    if spare_admin and row.role is Role.ADMIN and not row.expired:
        _require_another_admin(tx, row)
    return _row(
        tx.execute(
            update(api_keys)
            .where(_is(org_id, key_id))
            .values(revoked_at=now(), revoked_reason=reason)
            .returning(api_keys)
        ).one()
    )


def rotate(
    tx: Tx, org_id: str, key_id: str, token: str, pepper: bytes, *, rotated_by: str | None = None
) -> KeyRow:
    """Put a new key in the place of one: let the new token in, then the old one no more.

    The new key has the old one's role and end, and its name with the day of the rotation (UTC).

    Args:
        tx: The transaction.
        org_id: Whose key it is.
        key_id: The old one.
        token: The new key itself, from `new_token`.
        pepper: The deployment's.
        rotated_by: The id of the key that does it, if one does.

    Raises:
        NotFound: The organisation has no such key.
        Conflict: It is revoked or has expired (`api_key_not_active`).
    """
    places.lock(tx, org_id)
    old = get(tx, org_id, key_id)
    if old.revoked_at is not None or old.expired:
        raise Conflict(
            "The key is revoked or has expired; make a new one.", code="api_key_not_active"
        )
    name = _rotated(old.name, now())
    new = add(
        *(tx, org_id, name, old.role, token, pepper),
        expires_at=old.expires_at,
        created_by=rotated_by,
    )
    revoke(tx, org_id, key_id, reason=f"rotated to {new.id}")
    return new


def page(
    tx: Tx, org_id: str, *, limit: int | None = None, offset: int = 0
) -> tuple[list[KeyRow], int]:
    """Some of the organisation's keys, newest first, the revoked ones too; and how many in all."""
    mine = api_keys.c.org_id == org_id
    rows = tx.execute(
        select(api_keys)
        .where(mine)
        .order_by(api_keys.c.created_at.desc(), api_keys.c.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()
    total = tx.execute(select(func.count()).select_from(api_keys).where(mine)).scalar_one()
    return [_row(row) for row in rows], total


def _require_another_admin(tx: Tx, row: KeyRow) -> None:
    another = tx.scalar(
        select(api_keys.c.id)
        .where(
            api_keys.c.org_id == row.org_id,
            api_keys.c.id != row.id,
            api_keys.c.role == Role.ADMIN,
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now()),
        )
        .limit(1)
    )
    if another is None:
        raise Conflict(
            "This is the organisation's last admin key: make another one first, or rotate it.",
            code="last_admin_key",
        )


def _rotated(name: str, at: int) -> str:
    """The name with this day, in the place of an earlier rotation's; it stays short enough."""
    day = datetime.fromtimestamp(at // SECOND, UTC).date().isoformat()
    mark = f" (rotated {day})"
    return _ROTATED.sub("", name)[: LONGEST_NAME - len(mark)] + mark


def _is(org_id: str, key_id: str) -> ColumnElement[bool]:
    return (api_keys.c.id == key_id) & (api_keys.c.org_id == org_id)


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
        revoked_reason=row.revoked_reason,
        created_by=row.created_by,
    )
