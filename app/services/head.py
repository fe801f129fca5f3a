"""`HEAD` of whatever `GET` answers: the same status and headers, and nothing behind them."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Where the state of a request says that only the head of its answer is wanted.
_MARK = "head_only"


def head_only(request: Request) -> bool:
    """Whether nobody will read the body of the answer, so that it need not be made."""
    return getattr(request.state, _MARK, False)


class Headed:
    """ASGI middleware: routes see `GET` where the client says `HEAD`, and no body is sent.

    Args:
        app: what stands behind it.
        but: what the paths begin with where `HEAD` is a method like any other.
    """

    def __init__(self, app: ASGIApp, but: tuple[str, ...]) -> None:
        self._app = app
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through."""
        asked = scope["type"] == "http" and scope["method"] == "HEAD"
        if not asked or scope["path"].startswith(self._but):
            await self._app(scope, receive, send)
            return
        # Shared with who looks at the request from outside, whose method stays what it was.
        scope.setdefault("state", {})[_MARK] = True

        async def bare(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, bare)
