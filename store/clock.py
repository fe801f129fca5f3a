"""The one clock of this room."""

import time

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def now() -> int:
    """The time, in microseconds since 1970, UTC."""
    return time.time_ns() // 1_000
