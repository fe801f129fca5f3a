"""The audit log: every call whose key is known, written beside the requests.

`Audited` is pure ASGI and the outermost of all: it numbers the request, marks the answer, and hands
the call over when the answer was sent. A task writes what was handed over in batches. A request
never waits for that: when the database is away for long, calls beyond `ROOM` are counted and lost,
and the log of the process says how many. A process that is killed loses the
last `PERIOD`, and what it had not answered.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote_plus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.services import correlation
from app.services.auth import Caller
from engine.errors import SignalboxError
from store import audit, clock
from store.audit import Call
from store.database import Database
from store.ids import new_id

log = logging.getLogger("signalbox.audit")

#: Seconds between two batches, and calls in one.
PERIOD = 0.5
BATCH = 500
#: Calls that wait for the database at most.
ROOM = 20_000
#: Seconds that the last ones may take when the process stops.
_GRACE = 5.0
#: Rows that one pass of the sweeper throws away.
PURGED = 2_000
#: Characters of a path, a route, and of the name of a parameter; and names of a call.
_LONGEST_PATH = 1_000
_LONGEST_ROUTE = 200
_LONGEST_NAME = 100
_MOST_NAMES = 50


class Audit:
    """The audit log as one process writes and reads it.

    Args:
        database: where it is kept.
        days: after which a call is forgotten.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._kept = days * clock.DAY
        self._waiting: deque[Call] = deque()
        self._writing = asyncio.Lock()
        self._lost = 0
        self._away = False

    def note(self, call: Call) -> None:
        """Have a call written soon, or count it as lost when too many wait already."""
        if len(self._waiting) < ROOM:
            self._waiting.append(call)
        else:
            self._lost += 1

    async def run(self) -> None:
        """Write for ever; an outage is one line in the log, and one when it is over."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.flush()
                self._say(None)
            except SignalboxError as error:
                self._say(error)

    async def flush(self) -> None:
        """Write all that waits.

        Raises:
            Unavailable: the database does not answer; nothing is lost by that.
        """
        async with self._writing:
            while batch := list(islice(self._waiting, BATCH)):
                await self._database.write(partial(audit.add, calls=batch))
                for _ in batch:
                    self._waiting.popleft()

    async def stop(self) -> None:
        """Write what waits before the process ends, or say how much could not be."""
        try:
            async with asyncio.timeout(_GRACE):
                await self.flush()
        except (SignalboxError, TimeoutError):
            self._lost += len(self._waiting)
        self._say_lost()

    async def page(
        self,
        caller: Caller,
        limit: int,
        *,
        before: str | None,
        key_id: str | None,
        status: int | None,
        since: int | None,
        until: int | None,
    ) -> tuple[list[Call], bool]:
        """Calls of the caller's organisation, newest first, and whether there are older ones.

        What this process has answered before is among them; of other processes, all but the last
        moment. The filters are those of `store.audit.page`.
        """
        await self.flush()
        found = await self._database.read(
            lambda tx: audit.page(
                tx,
                caller.org_id,
                limit=limit + 1,
                before=before,
                key_id=key_id,
                status=status,
                since=since,
                until=until,
            )
        )
        return found[:limit], len(found) > limit

    async def purge(self) -> None:
        """Forget some of what is too old: a duty of the sweeper."""
        before = clock.now() - self._kept
        await self._database.write(partial(audit.purge, before=before, limit=PURGED))

    def _say(self, error: SignalboxError | None) -> None:
        if error is not None and not self._away:
            log.warning("the audit log waits: %s", error.message)
        if error is None:
            if self._away:
                log.info("the audit log goes on")
            self._say_lost()
        self._away = error is not None

    def _say_lost(self) -> None:
        if self._lost:
            log.error("%d calls are missing in the audit log", self._lost)
            self._lost = 0


class Audited:
    """ASGI middleware: numbers every request, and notes those whose caller is known.

    Who is called is found in the scope's state: `caller` and `route`, set by the route, and `audit`
    in the app's services.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through and look at what becomes of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = correlation.begin(scope["headers"])
        at, began = clock.now(), time.monotonic()
        status: int | None = None

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                mark = (correlation.HEADER, number.encode())
                message["headers"] = [*message.get("headers", ()), mark]
            await send(message)

        try:
            await self._app(scope, receive, marked)
        finally:
            state = scope.get("state", {})
            if "caller" in state:
                elapsed = round((time.monotonic() - began) * 1000)
                call = _call(scope, state, at, status, elapsed, number)
                scope["app"].state.services.audit.note(call)


def _call(
    scope: Scope, state: dict[str, Any], at: int, status: int | None, elapsed: int, number: str
) -> Call:
    caller: Caller = state["caller"]
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    client = scope.get("client")
    return Call(
        id=new_id(),
        org_id=caller.org_id,
        at=at,
        key_id=caller.key_id,
        key_name=caller.key_name,
        method=scope["method"],
        route=state["route"][:_LONGEST_ROUTE],
        path=raw.decode("ascii", "backslashreplace")[:_LONGEST_PATH],
        parameters=_names(scope.get("query_string", b"")),
        status=status,
        duration_ms=elapsed,
        client_ip=address(client),
        correlation_id=number,
    )


def address(client: Sequence[Any] | None) -> str | None:
    """The address of who asks; None when it is not known, or what a proxy said is none.

    Args:
        client: host and port, as ASGI has them.
    """
    try:
        return str(ip_address(client[0])) if client else None
    except ValueError:
        return None


def _names(query: bytes) -> list[str]:
    """The names in a query, each once, in their order; what stands behind `=` is left out."""
    names = (part.partition("=")[0] for part in query.decode("latin-1").split("&") if part)
    return [
        *dict.fromkeys(unquote_plus(name)[:_LONGEST_NAME] for name in islice(names, _MOST_NAMES))
    ]
