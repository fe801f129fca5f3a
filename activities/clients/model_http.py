"""Makes the SDKs of model providers leave the house through the one outgoing HTTP door."""

from collections.abc import AsyncIterator, Callable

import httpx2

from activities.clients.answers import HttpDoorError, HttpStream
from activities.clients.http import HttpDoor

#: Bytes of one answer of a model, and of what else such a server sends.
MAX_BYTES = 16 * 1024 * 1024

#: The door frames and encodes by itself, and what the SDK knows of this machine stays here.
_NOT_SENT = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "keep-alive"}
)
_TOLD_OF_US = "x-stainless-"
#: The door has undone these.
_NOT_GIVEN = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})


class DoorTransport(httpx2.AsyncBaseTransport):
    """A transport of `httpx2` that is the door."""

    def __init__(self, door: HttpDoor, remaining: Callable[[], float]) -> None:
        """Make a transport.

        Args:
            door: What everything goes through.
            remaining: Seconds that the caller has left, asked at each request.
        """
        self._door = door
        self._remaining = remaining
        #: Why the last request brought no answer; the SDKs have their own words for it.
        self.failed: HttpDoorError | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; the body of the answer is read as it comes.

        Raises:
            httpx2.TransportError: there is no answer; `failed` says why.
        """
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in _NOT_SENT and not name.startswith(_TOLD_OF_US)
        }
        self.failed = None
        try:
            answer = await self._door.open(
                request.method,
                str(request.url),
                headers=headers,
                content=await request.aread(),
                timeout=self._remaining(),
                max_bytes=MAX_BYTES,
            )
        except HttpDoorError as error:
            raise self.translated(error, request) from error
        given = {name: v for name, v in answer.headers.items() if name not in _NOT_GIVEN}
        return httpx2.Response(
            answer.status_code, headers=given, stream=_Body(self, request, answer), request=request
        )

    def translated(self, error: HttpDoorError, request: httpx2.Request) -> httpx2.TransportError:
        """The error in the words of `httpx2`; ours is kept."""
        self.failed = error
        kind = httpx2.ReadTimeout if error.code == "timeout" else httpx2.ReadError
        return kind(str(error), request=request)


class _Body(httpx2.AsyncByteStream):
    """The body of an answer of the door."""

    def __init__(
        self, transport: DoorTransport, request: httpx2.Request, answer: HttpStream
    ) -> None:
        self._transport = transport
        self._request = request
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.chunks():
                yield chunk
        except HttpDoorError as error:
            raise self._transport.translated(error, self._request) from error

    async def aclose(self) -> None:
        await self._answer.aclose()
