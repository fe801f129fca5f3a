"""Ids that sort by the time when they were made, so that new rows lie together in an index."""

import hashlib
import secrets
import time


def new_id() -> str:
    """A UUIDv7 as 32 hex digits.

    The 12 bits behind the milliseconds are the fraction of the millisecond (RFC 9562, method 3),
    so ids of one process ascend unless its clock is set back.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    return f"{milliseconds:012x}7{fraction:03x}{0b10 << 62 | secrets.randbits(62):016x}"


def derived_id(near: str, key: str) -> str:
    """The id that belongs to a key, always the same: a UUIDv7 of the time of the id `near`."""
    digest = int.from_bytes(hashlib.sha256(key.encode()).digest())
    fraction, rest = digest >> 62 & 0xFFF, digest & ((1 << 62) - 1)
    return f"{near[:12]}7{fraction:03x}{0b10 << 62 | rest:016x}"


def placed_id(milliseconds: int, place: int, key: str) -> str:
    """The id that belongs to a key and a place, always the same, as a UUIDv7.

    Ids of one time ascend with their places, of which 4096 take up a millisecond.

    Args:
        milliseconds: the time of place 0, since 1970.
        place: from 0.
        key: what the rest of the id is made of.
    """
    later, fraction = divmod(place, 4096)
    return f"{milliseconds + later:012x}7{fraction:03x}{derived_id('', key)[-16:]}"
