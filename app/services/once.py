"""The `Idempotency-Key` header: one key and body get one answer, for 24 hours."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from engine.errors import Invalid, Problem
from store import values

#: Characters of a key.
LONGEST = 255
#: Goes into every fingerprint, so that a new way to make them never matches an old one.
_VERSION = "1"


@dataclass(frozen=True)
class Once:
    """A request that is carried out once.

    Attributes:
        endpoint: method and concrete path, so that two workflows never share a key.
        fingerprint: a digest of the body that does not depend on spacing or the order of keys.
    """

    endpoint: str
    key: str
    fingerprint: str


def once(headers: Sequence[str], endpoint: str, document: Any) -> Once | None:
    """What the values of the header ask for; None when there is no such header.

    Raises:
        Invalid: there are two of them, or the key is empty, too long or not printable ASCII.
    """
    if not headers:
        return None
    if len(headers) > 1:
        raise _invalid("Idempotency-Key must be sent once.")
    (key,) = headers
    if not 1 <= len(key) <= LONGEST or not (key.isascii() and key.isprintable()):
        raise _invalid(f"Idempotency-Key must be 1 to {LONGEST} printable ASCII characters.")
    text = "\n".join((_VERSION, endpoint, values.encode(document, sort=True)))
    return Once(endpoint, key, sha256(text.encode()).hexdigest())


def _invalid(message: str) -> Invalid:
    return Invalid(message, problems=[Problem(message, path="header.idempotency-key")])
