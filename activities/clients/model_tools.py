"""What a model may do besides answering. Imported late, with `conversation`.

The descriptions of the tools and of their arguments are what the model reads of them.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import JsonValue
from pydantic_ai import Tool
from pydantic_ai.exceptions import ToolFailed

from activities.clients.http import HttpDoor, HttpDoorError
from activities.clients.outgoing import read_url
from engine.agent import ToolName

#: Bytes of an answer that are read, characters of it that the model gets, seconds for one request.
_READ = 1024 * 1024
_SHOWN = 32_000
_SECONDS = 60.0

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class Toolbox:
    """The tools of one attempt."""

    def __init__(
        self,
        door: HttpDoor,
        hosts: Sequence[str] | None,
        key: str,
        remaining: Callable[[], float],
    ) -> None:
        """Lay the tools out.

        Args:
            door: What requests leave through.
            hosts: Whom they may reach, as in `api.example.com` or `*.example.com`; None for all.
            key: The idempotency key of the step.
            remaining: Seconds that the attempt has left.
        """
        self._door = door
        self._hosts = hosts
        self._key = key
        self._remaining = remaining
        self._made: Counter[str] = Counter()

    def tools(self, names: Sequence[ToolName]) -> list[Tool[object]]:
        """Those that are listed."""
        known = {"http_request": self.http_request}
        return [Tool(known[name], name=name) for name in dict.fromkeys(names)]

    async def http_request(
        self,
        url: str,
        method: Method = "GET",
        headers: dict[str, str] | None = None,
        body: str | None = None,
    ) -> dict[str, JsonValue]:
        """Make an HTTP request and get the answer.

        Args:
            url: The address, with http or https.
            method: The method.
            headers: Headers to send.
            body: What to send, as text. For JSON, also set the Content-Type header.
        """
        self._check(url)
        content = body.encode() if body is not None else None
        sent = {
            name: value
            for name, value in (headers or {}).items()
            if name.lower() != "idempotency-key"
        }
        sent["Idempotency-Key"] = self._next_key(method, url, sent, body)
        try:
            answer = await self._door.request(
                method,
                url,
                headers=sent,
                content=content,
                timeout=min(_SECONDS, self._remaining()),
                max_bytes=_READ,
            )
        except HttpDoorError as error:
            raise ToolFailed(str(error)) from None
        text = answer.content.decode("utf-8", "replace")
        shown: dict[str, JsonValue] = {"status_code": answer.status_code, "body": text[:_SHOWN]}
        return shown | {"truncated": True} if len(text) > _SHOWN else shown

    def _check(self, url: str) -> None:
        if self._hosts is None:
            return
        try:
            # Read as the door reads it, or the two might disagree about the host.
            host = read_url(url, None).raw_host.decode("ascii").removesuffix(".")
        except ValueError as error:
            raise ToolFailed(f"Not sent: {error}.") from None
        allowed = any(
            host.endswith(entry[1:]) if entry.startswith("*.") else host == entry
            for entry in self._hosts
        )
        if not allowed:
            raise ToolFailed(f"Requests may go to {', '.join(self._hosts) or 'nobody'} only.")

    def _next_key(self, method: str, url: str, headers: dict[str, str], body: str | None) -> str:
        """The key of one call: the same when another attempt makes the same call as often.

        What is called is a part of it, because a model that is asked again may do other things in
        another order, and a receiver must not take one for the other.
        """
        call = json.dumps([method, url, sorted(headers.items()), body])
        digest = hashlib.sha256(call.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._made[digest] += 1
        return f"{self._key}/{digest}/{self._made[digest]}"
