"""Records of CSV that is read as it comes: RFC 4180, with any line ends.

Python's reader says what a record is; here it is only fed. A quote inside of a cell that does not
begin with one is text.
"""

import csv
from contextlib import suppress

from app.services.door import malformed
from app.services.incoming import LONGEST_ROW, SPACE, Incoming

#: Columns of a file.
MOST_COLUMNS = 1_000
# A record is bounded here, so its cells need no bound of their own (it is one for the process).
csv.field_size_limit(LONGEST_ROW)


class Records:
    """The records of a file.

    Args:
        text: the file.
    """

    def __init__(self, text: Incoming) -> None:
        self._text = text
        self._lines: list[str] = []
        self._at = 0
        self._dry = False
        self._number = 0

    async def header(self) -> list[str]:
        """The names of the columns; the first record.

        Raises:
            Refused: there is none, or it does not name every column in its own way.
        """
        names = await self._record("The first line")
        if names is None:
            raise malformed("The body has no line that names the columns.")
        if isinstance(names, str):
            raise malformed(f"The first line cannot be used. {names}")
        if len(names) > MOST_COLUMNS:
            raise malformed(f"There are more than {MOST_COLUMNS} columns.")
        if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
            raise malformed(
                "The first line names one column with a semicolon or a tab in its name. "
                "Cells are separated by commas."
            )
        seen: set[str] = set()
        for place, name in enumerate(names, 1):
            if not name:
                raise malformed(f"The first line has no name for column {place}.")
            if name in seen:
                raise malformed(f"The first line names column '{name[:80]}' twice.")
            seen.add(name)
        return names

    async def next(self) -> list[str] | str | None:
        """The cells of the next record that has any text; what is wrong with it; None at the end.

        Raises:
            Refused: it cannot be known where it ends.
        """
        while (cells := await self._record(f"Row {self._number + 1}")) is not None:
            if isinstance(cells, str) or any(cell.strip(SPACE) for cell in cells):
                self._number += 1
                return cells
        return None

    async def _record(self, called: str) -> list[str] | str | None:
        """The next record that is no blank line."""
        if not await self._at_record():
            return None
        while True:
            first = self._at
            cells = self._read()
            record = self._lines[first : self._at]
            if sum(map(len, record[:-1])) + len(record[-1].rstrip("\r\n")) > LONGEST_ROW:
                raise malformed(f"{called} is too long, or a quote in it does not close.")
            if cells is not None:
                return "It has a NUL character." if any("\0" in x for x in record) else cells
            if not self._dry:
                if len(record) == 1:
                    return "It is not CSV: text follows a quote that closes."
                raise malformed(
                    f"{called} opens a quote that closes inside of a cell of a later line, "
                    "so it is not known where rows end."
                )
            if not await self._go_back(record):
                raise malformed(f"{called} opens a quote that does not close.")

    def _read(self) -> list[str] | None:
        """The cells of what begins here; None if it is not CSV or, when `_dry`, goes on."""
        self._dry = False
        with suppress(csv.Error):
            return next(csv.reader(iter(self._line, None), strict=True))
        return None

    async def _go_back(self, record: list[str]) -> bool:
        """Stand before all of these lines again, with more behind them; False if none is left.

        The more there is already, the more is taken in before all is looked at again.
        """
        self._lines, self._at = record, 0
        known = size = sum(map(len, record))
        while size <= 2 * known and (more := await self._text.lines(skip_blank=False)):
            self._lines += more
            size += sum(map(len, more))
        return size > known

    async def _at_record(self) -> bool:
        """Go to the next line that is not blank; False when there is none."""
        while True:
            lines, at = self._lines, self._at
            while at < len(lines) and not lines[at].strip(SPACE):
                at += 1
            self._at = at
            if at < len(lines):
                return True
            self._lines, self._at = await self._text.lines(skip_blank=True), 0
            if not self._lines:
                return False

    def _line(self) -> str | None:
        """The next line for the reader, which asks for one only when a record goes on."""
        if self._at == len(self._lines):
            self._dry = True
            return None
        self._at += 1
        return self._lines[self._at - 1]
