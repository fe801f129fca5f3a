"""Sealing what is kept encrypted: AES-256-GCM under keys that only processes know.

What is sealed is bound to its place (`bound`): copied to another row it does not open. Each sealing
draws a nonce of its own. Rotation: the first key of a ring seals, all of them open.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Bytes of a key.
KEY = 32
_NONCE = 12
#: Goes into every key's id, so that the id is of no use elsewhere.
_LABEL = b"signalbox key id 1\0"


class UnopenableError(Exception):
    """What is sealed was sealed under a key that is not in the ring, or was tampered with."""


@dataclass(frozen=True)
class Sealed:
    """A nonce and a ciphertext, and the id of the key that opens it: 16 hex digits."""

    content: bytes
    key_id: str


class Keyring:
    """The keys of a deployment; an empty ring can neither seal nor open."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        #: The id of the key that seals; empty when there is none.
        self.sealing = next(iter(self._ciphers), "")

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """The ring that a setting writes: keys of 32 bytes, hex or base64, separated by commas.

        Raises:
            ValueError: one of them is neither; the message does not show it.
        """
        return cls([_key(word.strip()) for word in text.split(",")] if text.strip() else [])

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    def seal(self, text: str, bound: str) -> Sealed:
        """Seal a text under the first key.

        Raises:
            UnopenableError: the ring is empty.
        """
        if not self:
            raise UnopenableError
        nonce = os.urandom(_NONCE)
        cipher = self._ciphers[self.sealing]
        return Sealed(nonce + cipher.encrypt(nonce, text.encode(), bound.encode()), self.sealing)

    def open(self, sealed: Sealed, bound: str) -> str:
        """The text that was sealed for this place.

        Raises:
            UnopenableError: no key of the ring opens it there.
        """
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise UnopenableError
        nonce, content = sealed.content[:_NONCE], sealed.content[_NONCE:]
        try:
            return cipher.decrypt(nonce, content, bound.encode()).decode()
        except (InvalidTag, ValueError):
            raise UnopenableError from None


def key_id(key: bytes) -> str:
    """What names a key without giving it away: 16 hex digits."""
    return hashlib.sha256(_LABEL + key).hexdigest()[:16]


def _key(word: str) -> bytes:
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(word)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY:
            return key
    raise ValueError("a key is 32 random bytes, written as 64 hex digits or in base64")


def _base64(word: str) -> bytes:
    plain = word.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
