"""The stream of a run, as Server-Sent Events."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import Request
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from app.envelope import services
from app.services.auth import Caller
from app.surfaces.full_engine.runs.shapes import event_out
from engine.errors import SignalboxError
from store.runs import RunRow

log = logging.getLogger("signalbox.stream")

#: Seconds between two signs of life, and how long one piece may take to be accepted.
HEARTBEAT = 15
_SEND_TIMEOUT = 30.0


class Stream(EventSourceResponse):
    """A stream whose client may stop reading without that being an error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the run is over or the client has gone."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("a stream was dropped because its client does not read")


async def stream(request: Request, caller: Caller, run_id: str, after: int) -> Stream:
    """The stream of a run from the event after `after`.

    Raises:
        NotFound: there is no such run in the caller's organisation.
        Refused: the key has too many streams open.
    """
    state = services(request)
    # The door's clock runs until the body is there; afterwards only the end of the client counts.
    await request.body()
    state.tail.reserve(caller)
    run = await state.runs.get(caller, run_id)
    return Stream(
        _events(request, caller, run, after), ping=HEARTBEAT, send_timeout=_SEND_TIMEOUT, sep="\n"
    )


async def _events(
    request: Request, caller: Caller, run: RunRow, after: int
) -> AsyncIterator[bytes]:
    """Encoded events; ends early when the key is no longer good or the database is away."""
    state = services(request)
    authorization = request.headers.getlist("authorization")
    async with aclosing(state.tail.follow(caller, run, after)) as events:
        try:
            async for event in events:
                if event is None:
                    await state.auth.caller(authorization)
                else:
                    yield event_out(event)
        except SignalboxError as error:
            log.info("a stream of run %s ends: %s", run.id, error.message)
