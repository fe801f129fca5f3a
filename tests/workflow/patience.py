"""Waiting for what is to hold soon."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], Awaitable[bool] | bool], what: str) -> None:
    """Wait until it holds; `what` says what is wrong when it does not within 60 s."""
    for _ in range(1_200):
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)
