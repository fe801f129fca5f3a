"""Following a run: its stream, as Server-Sent Events, and waiting for its end."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import Request
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

from app.envelope import services
from app.services.auth import Caller
from app.surfaces.full_engine.runs.schemas import RunFullOut
from app.surfaces.full_engine.runs.shapes import event_out, run_full_out
from engine.errors import SignalboxError
from store.runs import RunRow

log = logging.getLogger("signalbox.stream")

#: Seconds between two signs of life, and how long one piece may take to be accepted.
HEARTBEAT = 15
_SEND_TIMEOUT = 30.0


class Stream(EventSourceResponse):
    """A stream whose client may stop reading without that being an error of ours.

    When the API stops, the stream ends as a whole answer does, so that its client takes it up again
    where it was.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the run is over, the client has gone or the API stops."""
        sent: Message = {}

        async def noted(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent = message

        try:
            await super().__call__(scope, receive, noted)
        except SendTimeoutError:
            log.info("a stream was dropped because its client does not read")
            return
        # It was broken off between two messages, as the API stops; nothing says so to the client.
        if self.active and sent.get("more_body"):
            await send({"type": "http.response.body", "body": b""})


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


async def finished(
    request: Request, caller: Caller, run_id: str, seconds: float
) -> RunFullOut | None:
    """The run once it is over, or as it is after so many seconds; None when it cannot be read.

    It also ends when the client has gone.
    """
    state = services(request)
    try:
        run = await state.runs.get(caller, run_id)
        waiting = {
            asyncio.create_task(_ended(request, run)),
            asyncio.create_task(_gone(request)),
        }
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        await state.auth.caller(request.headers.getlist("authorization"))
        return run_full_out(await state.run_pages.view(caller, run_id))
    except SignalboxError as error:
        # The run is accepted, whatever became of the waiting.
        log.info("nobody can wait for run %s: %s", run_id, error.message)
        return None


async def _ended(request: Request, run: RunRow) -> None:
    state = services(request)
    authorization = request.headers.getlist("authorization")
    async with aclosing(state.tail.ended(run)) as looks:
        async for _ in looks:
            await state.auth.caller(authorization)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
