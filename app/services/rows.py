"""Records out of a body that is read as it comes: JSON, one JSON value a line, or CSV.

Nothing is gathered but the row at hand, of at most `LONGEST_ROW` characters. A row that cannot be
used says so and the next one follows; where it cannot be known any more where a row ends, the rest
is refused.
"""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from app.services.door import DECODER, Refused, malformed, measure, too_deep
from app.services.incoming import LONGEST_ROW, Incoming
from app.services.tables import Records

#: What a body may be sent as, and how it is read.
JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"


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
        type_elsewhere: the type is named outside of the body, so within it may come late.

    Attributes:
        type_named: the type that a JSON document names.
    """

    def __init__(
        self, kind: str, chunks: AsyncIterator[bytes], *, type_elsewhere: bool = False
    ) -> None:
        self.kind = kind
        self.type_named: str | None = None
        self._type_elsewhere = type_elsewhere
        self._text = Incoming(chunks)
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
            else:
                yield self._of_value(line)

    def _of_value(self, line: str) -> Row:
        try:
            return self._checked(DECODER.decode(line), len(line))
        except json.JSONDecodeError as error:
            return self._row(None, f"It is not JSON from column {error.colno} on.")
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
            if key == "entityTypeId" and "entities" in seen and not self._type_elsewhere:
                raise malformed("entityTypeId must come before entities, or be in the query.")
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
        records = Records(self._text)
        header = await records.header()
        while (cells := await records.next()) is not None:
            if isinstance(cells, str):
                yield self._row(None, cells)
            elif len(cells) != len(header):
                message = f"It has {len(cells)} cells; there are {len(header)} columns."
                yield self._row(None, message)
            else:
                size = len(cells) + sum(map(len, cells))
                yield self._row(dict(zip(header, cells, strict=True)), size=size)


_TOO_LONG = f"It is longer than {LONGEST_ROW} characters."
