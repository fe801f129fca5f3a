"""The `Idempotency-Key` header: one key and body get one answer, for 24 hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from engine.errors import Conflict, Invalid, Problem
from store import idempotency, values
from store.database import Tx

#: Characters of a key.
LONGEST = 255
#: Goes into every fingerprint, so that a new way to make them never matches an old one.
_VERSION = "1"
_TWICE = "Idempotency-Key must be sent once."
_WHERE = "header.idempotency-key"
#: What is said of a key that comes again with another body.
REUSED = "The Idempotency-Key came before with another body."


@dataclass(frozen=True)
class Once:
    """A request that is carried out once.

    Attributes:
        endpoint: method and concrete path, so that two workflows never share a key.
        fingerprint: a digest of the body that does not depend on spacing or the order of keys;
            empty where the body makes no difference.
    """

    endpoint: str
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Answered:
    """The answer to a request that may come twice.

    Attributes:
        made: the id of what the request has made; empty where that is more than one thing.
        replayed: it is that of an earlier request.
    """

    made: str
    status: int
    body: bytes
    replayed: bool = False


def recall(tx: Tx, org_id: str, once: Once | None) -> Answered | None:
    """The answer that the key has got before; None when it is new, and ours from now on.

    Without a key there is none either.

    Raises:
        Invalid: the key came before with another body (`idempotency_key_reused`).
        Conflict: that request has not been answered yet.
    """
    if once is None:
        return None
    earlier = idempotency.reserve(tx, org_id, once.endpoint, once.key, once.fingerprint)
    if earlier is None:
        return None
    if earlier.fingerprint != once.fingerprint:
        raise Invalid(REUSED, code="idempotency_key_reused")
    if earlier.run_id is None or earlier.status_code is None or earlier.body is None:
        raise Conflict("The first request of this key is under way.")
    return Answered(earlier.run_id, earlier.status_code, earlier.body, replayed=True)


def keep(tx: Tx, org_id: str, once: Once | None, answered: Answered) -> None:
    """Remember the answer in the transaction that makes what it tells of, if there is a key."""
    if once is not None:
        idempotency.remember(
            tx,
            org_id,
            once.endpoint,
            once.key,
            run_id=answered.made,
            status_code=answered.status,
            body=answered.body,
        )


def once_for_any_body(headers: Sequence[str], endpoint: str) -> Once | None:
    """What the values of the header ask for on `/v1`, where the body makes no difference.

    Spaces around a key do not belong to it, and an empty one is none; contracts A-q5.

    Raises:
        Invalid: there are two of them, or the key is too long or not printable ASCII.
    """
    where = "header.Idempotency-Key"
    if len(headers) > 1:
        raise _invalid(_TWICE, where)
    key = headers[0].strip() if headers else ""
    if not key:
        return None
    return Once(endpoint, _valid(key, where), "")


def once(headers: Sequence[str], endpoint: str, document: Any) -> Once | None:
    """What the values of the header ask for; None when there is no such header.

    Raises:
        Invalid: there are two of them, or the key is empty, too long or not printable ASCII.
    """
    if not headers:
        return None
    if len(headers) > 1:
        raise _invalid(_TWICE)
    key = _valid(headers[0])
    text = "\n".join((_VERSION, endpoint, values.encode(document, sort=True)))
    return Once(endpoint, key, sha256(text.encode()).hexdigest())


def _valid(key: str, where: str = _WHERE) -> str:
    if not 1 <= len(key) <= LONGEST or not (key.isascii() and key.isprintable()):
        message = f"Idempotency-Key must be 1 to {LONGEST} printable ASCII characters."
        raise _invalid(message, where)
    return key


def _invalid(message: str, where: str = _WHERE) -> Invalid:
    return Invalid(message, problems=[Problem(message, path=where)])
