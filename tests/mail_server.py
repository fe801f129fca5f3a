"""A small SMTP server that keeps what it is given; some addresses it refuses."""

import asyncio
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from types import TracebackType
from typing import Self, cast


@dataclass
class MailBox:
    """Listens on a free loopback port from `async with` on.

    `refused@…` is answered 550, `later@…` 451.
    """

    letters: list[EmailMessage] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None

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
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        try:
            while line := (await reader.readline()).decode("latin-1").strip():
                if line.upper() == "DATA":
                    writer.write(b"354 go on\r\n")
                    content = await reader.readuntil(b"\r\n.\r\n")
                    parsed = BytesParser(policy=default).parsebytes(content[:-3])
                    self.letters.append(cast(EmailMessage, parsed))
                writer.write(self._answer(line))
                await writer.drain()
                if line.upper() == "QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, line: str) -> bytes:
        match line.upper().split(":")[0]:
            case "RCPT TO" if "refused@" in line:
                return b"550 no such person: refused@example.com\r\n"
            case "RCPT TO" if "later@" in line:
                return b"451 come back\r\n"
            case "QUIT":
                return b"221 bye\r\n"
        return b"250 ok\r\n"
