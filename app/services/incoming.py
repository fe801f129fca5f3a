"""Text that is read as it comes, and let go of when it was taken."""

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from app.services.door import DECODER, Refused, malformed, too_deep

#: Characters of one row.
LONGEST_ROW = 512 * 1024
SPACE = " \t\r\n"
_SPACES = re.compile(r"[ \t\r\n]*+")
_BLANK_LINES = re.compile(r"(?:[ \t]*+[\r\n])*+")
_LINES = re.compile(r"[^\r\n]*+[\r\n]++|[^\r\n]++")
#: Bytes that are taken in at a time.
_GULP = 64 * 1024


class Incoming:
    """Text that comes in chunks; what was taken is let go of.

    Args:
        chunks: its bytes: UTF-8, with or without a byte order mark.

    Attributes:
        taken: characters of the last value.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._buffer = ""
        self._at = 0
        self._gone = 0
        self._ended = False
        self._hash = sha256()
        self.taken = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that have come so far, in hex."""
        return self._hash.hexdigest()

    async def drain(self) -> None:
        """Let all go by."""
        while await self._more():
            self._at = len(self._buffer)

    async def _more(self) -> bool:
        """Take in the next `_GULP` bytes, or what is left; False when there is nothing.

        However small the chunks are, so that what is looked at again for each is not.
        """
        if self._ended:
            return False
        # Chunks that are there already are handed over without a pause, and others wait.
        await asyncio.sleep(0)
        taken = bytearray()
        while len(taken) < _GULP and not self._ended:
            chunk = await anext(self._chunks, None)
            self._ended = chunk is None
            taken += chunk or b""
        self._hash.update(taken)
        try:
            text = self._decode(bytes(taken), self._ended)
        except UnicodeDecodeError:
            raise malformed("The body is not UTF-8.") from None
        self._gone += self._at
        self._buffer = self._buffer[self._at :] + text
        self._at = 0
        return True

    async def line(self) -> str | None:
        """The next line that is not blank, without its end; None behind the last.

        Of one too long only a part, longer than `LONGEST_ROW`.
        """
        while True:
            await self._pass(_BLANK_LINES)
            if self._at == len(self._buffer):
                return None
            if (line := await self._whole_line()).strip(SPACE) or len(line) > LONGEST_ROW:
                return line

    async def _whole_line(self) -> str:
        cut = ""
        while (end := self._buffer.find("\n", self._at)) < 0:
            if len(self._buffer) - self._at > LONGEST_ROW:
                cut, self._at = self._buffer[self._at :], len(self._buffer)
            if not await self._more():
                end = len(self._buffer)
                break
        line = self._buffer[self._at : end]
        self._at = min(end + 1, len(self._buffer))
        return cut or line.removesuffix("\r")

    async def lines(self, *, skip_blank: bool) -> list[str]:
        """Whole lines with their ends, as many as are there, at least one; none at the end.

        A line ends with a line feed, a carriage return or both, and empty lines that follow stay
        with it. Of one too long there is only a part, longer than `LONGEST_ROW`.

        Args:
            skip_blank: pass over those at the beginning that have nothing but spaces.
        """
        if skip_blank:
            await self._pass(_BLANK_LINES)
        while True:
            end = 1 + max(self._buffer.rfind(mark, self._at) for mark in "\r\n")
            if self._ended or (not end and len(self._buffer) - self._at > LONGEST_ROW):
                end = len(self._buffer)
            if end > self._at:
                found = _LINES.findall(self._buffer, self._at, end)
                self._at = end
                return found
            if not await self._more():
                return []

    async def _pass(self, some: re.Pattern[str]) -> None:
        """Let go by what matches here, however long it is."""
        while True:
            match = some.match(self._buffer, self._at)
            if match is not None:
                self._at = match.end()
            if self._at < len(self._buffer) or not await self._more():
                return

    async def next(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        await self._pass(_SPACES)
        return self._buffer[self._at : self._at + 1]

    async def expect(self, character: str) -> None:
        """Take this character, after any space.

        Raises:
            Refused: there is another one.
        """
        if await self.next() != character:
            raise malformed(
                f"The body is not JSON: '{character}' was expected at {self._position(self._at)}."
            )
        self._at += 1

    async def value(self, where: str = "") -> Any:
        """Take the next JSON value.

        Raises:
            Refused: there is none, or it is too long.
        """
        await self.next()
        while True:
            try:
                value, end = DECODER.raw_decode(self._buffer, self._at)
                # A number may go on in the next chunk.
                if end < len(self._buffer) or self._ended:
                    self.taken, self._at = end - self._at, end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._buffer) - self._at > LONGEST_ROW:
                    raise malformed(
                        f"The body is not JSON{where}, from {self._position(error.pos)} on."
                    ) from None
            except Refused as error:
                raise malformed(
                    f"{error.message} It is{where}." if where else error.message
                ) from None
            except RecursionError:
                raise too_deep() from None
            if len(self._buffer) - self._at > 2 * LONGEST_ROW:
                raise malformed(f"A value{where} is too long.")
            await self._more()

    def _position(self, at: int) -> str:
        return f"character {self._gone + at + 1}"
