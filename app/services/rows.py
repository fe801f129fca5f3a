"""Records out of a body that is read as it comes: JSON, one JSON value a line, or CSV.

Nothing is gathered but the row at hand, of at most `LONGEST_ROW` characters. A row that cannot be
used says so and the next one follows; where it cannot be known any more where a row ends, the rest
is refused.
"""

import codecs
import csv
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, NamedTuple

from app.services.door import DECODER, Refused, malformed, measure, too_deep

#: Characters of one row.
LONGEST_ROW = 512 * 1024
#: What a body may be sent as, and how it is read.
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
_SPACE = " \t\r\n"
#: Bytes that are taken in at a time.
_GULP = 64 * 1024
#: Columns of a CSV file.
MOST_COLUMNS = 1_000


class Row(NamedTuple):
    """One record of a body.

    Attributes:
        number: from 1, in the order of the body; blank lines are none.
        fields: what is to be kept; the texts of cells where it is a CSV file. None when it cannot
            be used.
        message: why it cannot.
        size: about how many characters it has.
    """

    number: int
    fields: dict[str, Any] | None
    message: str = ""
    size: int = 0


class Body:
    """The rows of a body.

    Args:
        kind: `JSON`, `NDJSON` or `CSV`.
        chunks: the bytes as they come.

    Attributes:
        type_named: the type that a JSON document names before its rows.
    """

    def __init__(self, kind: str, chunks: AsyncIterator[bytes]) -> None:
        self.kind = kind
        self.type_named: str | None = None
        self._text = _Text(chunks, "utf-8-sig" if kind == CSV else "utf-8")
        self._number = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that have come so far, in hex."""
        return self._text.digest

    async def drain(self) -> None:
        """Read to the end without looking at it."""
        await self._text.drain()

    def rows(self) -> AsyncIterator[Row]:
        """The rows, in the order of the body.

        Raises:
            Refused: what comes next cannot be read; also while the rows are read.
        """
        return {JSON: self._document, NDJSON: self._lines, CSV: self._table}[self.kind]()

    def _row(self, fields: Any, message: str = "", size: int = 0) -> Row:
        self._number += 1
        return Row(self._number, fields, message, size)

    # --- one JSON value a line ----------------------------------------------------------------

    async def _lines(self) -> AsyncIterator[Row]:
        while (line := await self._text.line()) is not None:
            if len(line) > LONGEST_ROW:
                yield self._row(None, _TOO_LONG)
            elif line.strip(_SPACE):
                yield self._of_value(line)

    def _of_value(self, line: str) -> Row:
        try:
            return self._checked(DECODER.decode(line), len(line))
        except json.JSONDecodeError as error:
            return self._row(None, f"It is not JSON: {error.msg} at column {error.colno}.")
        except Refused as error:
            return self._row(None, error.message)
        except RecursionError:
            return self._row(None, too_deep().message)

    def _checked(self, value: Any, size: int) -> Row:
        """The row of `{"fields": {…}}`."""
        try:
            measure(value)
        except Refused as error:
            return self._row(None, error.message)
        if not isinstance(value, dict) or not isinstance(value.get("fields"), dict):
            return self._row(None, 'It must be an object, as in {"fields": {"name": "Acme"}}.')
        for key in value:
            if key != "fields":
                return self._row(None, f"Unknown key '{key[:80]}'.")
        return self._row(value["fields"], size=size)

    # --- one JSON document --------------------------------------------------------------------

    async def _document(self) -> AsyncIterator[Row]:
        text = self._text
        seen: set[str] = set()
        await text.expect("{")
        while await text.next() != "}":
            if seen:
                await text.expect(",")
                await text.next()
            key = await text.value()
            await text.expect(":")
            if not isinstance(key, str) or key in seen or key not in ("entityTypeId", "entities"):
                raise malformed(
                    'The body must be {"entityTypeId": …, "entities": […]}, each of them once.'
                )
            seen.add(key)
            if key == "entities":
                async for row in self._elements():
                    yield row
                continue
            self.type_named = await text.value()
            if not isinstance(self.type_named, str):
                raise malformed("entityTypeId must be a text.")
        await text.expect("}")
        if await text.next():
            raise malformed("Something follows the JSON document.")
        if "entities" not in seen:
            raise malformed("The body has no entities.")

    async def _elements(self) -> AsyncIterator[Row]:
        text, first = self._text, True
        await text.expect("[")
        while await text.next() != "]":
            if not first:
                await text.expect(",")
            first = False
            await text.next()
            value = await text.value(f" in entity {self._number + 1}")
            yield self._checked(value, text.taken)
        await text.expect("]")

    # --- CSV ----------------------------------------------------------------------------------

    async def _table(self) -> AsyncIterator[Row]:
        header = await self._record()
        if header is None:
            raise malformed("The body has no line that names the columns.")
        if (
            isinstance(header, str)
            or any(not name for name in header)
            or len(set(header)) < len(header)
        ):
            raise malformed("The first line must name every column, each in its own way.")
        if len(header) > MOST_COLUMNS:
            raise malformed(f"There are more than {MOST_COLUMNS} columns.")
        while (cells := await self._record()) is not None:
            if isinstance(cells, str):
                yield self._row(None, cells)
            elif len(cells) != len(header):
                message = f"It has {len(cells)} cells; there are {len(header)} columns."
                yield self._row(None, message)
            else:
                size = len(cells) + sum(map(len, cells))
                yield self._row(dict(zip(header, cells, strict=True)), size=size)

    async def _record(self) -> list[str] | str | None:
        """The next record that is not blank; what is wrong with it, or None at the end."""
        while (line := await self._text.line()) is not None:
            # A line break inside of quotes belongs to a cell; quotes come in pairs.
            while line.count('"') % 2 and len(line) <= LONGEST_ROW:
                more = await self._text.line()
                if more is None:
                    break
                line += "\n" + more
            if len(line) > LONGEST_ROW:
                raise malformed(f"Row {self._number + 1} is too long, or its quotes do not close.")
            if not line.strip(_SPACE):
                continue
            if "\0" in line:
                return "It has a NUL character."
            try:
                return next(csv.reader(line.splitlines(keepends=True), strict=True))
            except (csv.Error, StopIteration):
                return (
                    "It is not CSV: a quote is out of place, or a cell is over 131,072 characters."
                )
        return None


_TOO_LONG = f"It is longer than {LONGEST_ROW} characters."


class _Text:
    """Text that comes in chunks; what was taken is let go of.

    Attributes:
        taken: characters of the last value.
    """

    def __init__(self, chunks: AsyncIterator[bytes], encoding: str) -> None:
        self._chunks = chunks
        self._decode = codecs.getincrementaldecoder(encoding)().decode
        self._buffer = ""
        self._at = 0
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
        self._buffer = self._buffer[self._at :] + text
        self._at = 0
        return True

    async def line(self) -> str | None:
        """The next line without its end, None behind the last; of one too long only a part."""
        cut = ""
        while (end := self._buffer.find("\n", self._at)) < 0:
            if len(self._buffer) - self._at > LONGEST_ROW:
                cut, self._at = self._buffer[self._at :], len(self._buffer)
            if not await self._more():
                rest, self._at = self._buffer[self._at :], len(self._buffer)
                return cut or rest or None
        line = self._buffer[self._at : end]
        self._at = end + 1
        return cut or line.removesuffix("\r")

    async def next(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if not await self._more():
                return ""

    async def expect(self, character: str) -> None:
        """Take this character, after any space.

        Raises:
            Refused: there is another one.
        """
        if await self.next() != character:
            raise malformed(f"The body is not JSON: '{character}' was expected.")
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
                    raise malformed(f"The body is not JSON{where}: {error.msg}.") from None
            except Refused as error:
                raise malformed(
                    f"{error.message} It is{where}." if where else error.message
                ) from None
            except RecursionError:
                raise too_deep() from None
            if len(self._buffer) - self._at > 2 * LONGEST_ROW:
                raise malformed(f"A value{where} is too long.")
            await self._more()
