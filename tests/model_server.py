"""A small server that speaks as providers of models do: OpenAI's chat completions, Anthropic's
messages.

It streams what a test has told it to say, answer by answer, and remembers what it was asked. The
path decides which of the two languages it speaks.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

#: Tokens that every answer reports: what went in, and what came out.
TOKENS = (11, 7)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `at` is when, on the monotonic clock."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Says:
    """Text, word by word, with a pause before each.

    Attributes:
        endless: begins again after the last word.
        stop: why it ends, in the words of OpenAI.
        counts: whether tokens are reported.
    """

    text: str
    pause: float = 0
    endless: bool = False
    stop: str | None = None
    counts: bool = True


@dataclass(frozen=True)
class Calls:
    """Calls of tools: name and arguments; arguments that are text are sent as they are."""

    calls: tuple[tuple[str, Mapping[str, Any] | str], ...]


@dataclass(frozen=True)
class Fails:
    """An answer that is an error."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"error": {"message": "no", "type": "test", "code": null}}'


@dataclass(frozen=True)
class Raw:
    """Events as they are: what no provider should send."""

    content: bytes


Answer = Says | Calls | Fails | Raw


def calls(name: str, **arguments: Any) -> Calls:
    """One call of one tool."""
    return Calls(((name, arguments),))


@dataclass
class ModelServer:
    """Listens on a free loopback port from `async with` on.

    Attributes:
        answers: taken in turn; the last one answers everything that follows.
        left: answers whose reader left before they ended.
    """

    answers: list[Answer] = field(default_factory=lambda: [Says("Hello there.")])
    asked: list[Asked] = field(default_factory=list)
    left: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, model: str = "openai:test-model") -> dict[str, str]:
        """The variables of a worker that asks this server."""
        return {
            "SIGNALBOX_AI_MODEL": model,
            "SIGNALBOX_AI_OPENAI_BASE_URL": f"{self.url}/v1",
            "SIGNALBOX_AI_OPENAI_API_KEY": OPENAI_KEY,
            "SIGNALBOX_AI_ANTHROPIC_BASE_URL": self.url,
            "SIGNALBOX_AI_ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        }

    async def until_asked(self, times: int = 1) -> None:
        """Wait for so many requests."""
        async with asyncio.timeout(60):
            while len(self.asked) < times:
                await asyncio.sleep(0.02)

    async def until_left(self) -> None:
        """Wait until a reader has gone."""
        async with asyncio.timeout(60):
            while not self.left:
                await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await self._answer(asked, answer, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(
        self,
        asked: Asked,
        answer: Answer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if isinstance(answer, Fails):
            head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            writer.write(
                f"HTTP/1.1 {answer.status} -\r\ncontent-type: application/json\r\n{head}"
                f"content-length: {len(answer.body)}\r\n\r\n{answer.body}".encode()
            )
            await writer.drain()
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        events = _anthropic if asked.path.endswith("/messages") else _openai
        gone = asyncio.ensure_future(reader.read(1))
        try:
            async for event in events(answer):
                if gone.done():
                    self.left += 1
                    raise ConnectionError
                writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone


#: What the settings of this server hold; no secrets at all.
OPENAI_KEY = "sk-openai-of-the-tests"
ANTHROPIC_KEY = "sk-anthropic-of-the-tests"


async def _words(says: Says) -> AsyncIterator[str]:
    while True:
        for index, word in enumerate(says.text.split(" ")):
            await asyncio.sleep(says.pause)
            yield f" {word}" if index else word
        if not says.endless:
            return


async def _openai(answer: Answer) -> AsyncIterator[bytes]:
    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        whole = {
            "id": "chat",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "m",
            "choices": choices,
        }
        return f"data: {json.dumps(whole | more)}\n\n".encode()

    def delta(found: dict[str, Any], reason: str | None = None) -> bytes:
        return chunk([{"index": 0, "delta": found, "finish_reason": reason}])

    match answer:
        case Raw(content=content):
            yield content
            return
        case Says():
            async for word in _words(answer):
                yield delta({"role": "assistant", "content": word})
            yield delta({}, answer.stop or "stop")
        case Calls(calls=called):
            for index, (identity, name, text) in enumerate(_calls(called)):
                function = {"name": name, "arguments": text}
                call = {"index": index, "id": identity, "type": "function", "function": function}
                yield delta({"role": "assistant", "tool_calls": [call]})
            yield delta({}, "tool_calls")
    if isinstance(answer, Says) and not answer.counts:
        yield b"data: [DONE]\n\n"
        return
    went_in, came_out = TOKENS
    used = {"prompt_tokens": went_in, "completion_tokens": came_out, "total_tokens": sum(TOKENS)}
    yield chunk([], usage=used)
    yield b"data: [DONE]\n\n"


async def _anthropic(answer: Answer) -> AsyncIterator[bytes]:
    def event(kind: str, **data: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | data)}\n\n".encode()

    went_in, came_out = TOKENS
    message = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": went_in, "output_tokens": 0},
    }
    reason = "end_turn"
    if isinstance(answer, Raw):
        yield answer.content
        return
    yield event("message_start", message=message)
    if isinstance(answer, Says):
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        async for word in _words(answer):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield event("content_block_stop", index=0)
    elif isinstance(answer, Calls):
        reason = "tool_use"
        for index, (identity, name, text) in enumerate(_calls(answer.calls)):
            block = {"type": "tool_use", "id": identity, "name": name, "input": {}}
            yield event("content_block_start", index=index, content_block=block)
            part = {"type": "input_json_delta", "partial_json": text}
            yield event("content_block_delta", index=index, delta=part)
            yield event("content_block_stop", index=index)
    stopped = {"stop_reason": reason, "stop_sequence": None}
    yield event("message_delta", delta=stopped, usage={"output_tokens": came_out})
    yield event("message_stop")


def _calls(called: tuple[tuple[str, Mapping[str, Any] | str], ...]) -> Iterator[tuple[str, ...]]:
    for index, (name, arguments) in enumerate(called):
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        yield f"call_{index}", name, text


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(first.split(" ")[1], headers, json.loads(body) if body else {}, time.monotonic())
