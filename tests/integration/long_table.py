"""Tables to import that are as awkward as a spreadsheet makes them, of any length.

A byte order mark, CRLF between the records, cells with line ends of every kind, doubled quotes,
commas, letters of two to four bytes, and now and then a row that cannot be used.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

TYPE = {
    "name": "Line",
    "pluralName": "Lines",
    "fields": [
        {"name": "Title", "slug": "title", "type": "text", "required": True},
        {"name": "Size", "slug": "size", "type": "number"},
        {"name": "Open", "slug": "open", "type": "boolean"},
        {"name": "Note", "slug": "note", "type": "text"},
    ],
}
_PIECES = (
    "plain words ",
    'a "quoted" word ',
    '"',
    "one, two; three ",
    "Zoë, naïveté ",
    "日本語のテキスト ",
    "🚂🚦 ",
    "over\nlines ",
    "over\r\nlines ",
    "over\rlines ",
    "\t",
    "\n\n",
)
#: A row that is not good comes after so many, on the average.
_BAD_EVERY = 997


class Bad(NamedTuple):
    """A row that cannot be used, by the cells of a good one, and what is said of it."""

    row: Callable[[list[str]], str]
    message: str


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def _joined(cells: list[str]) -> str:
    return ",".join(_quoted(cell) if set(cell) & set('",\r\n') else cell for cell in cells)


BAD = (
    Bad(lambda cells: _joined(cells[:-1]), "It has 3 cells; there are 4 columns."),
    Bad(lambda cells: _joined([*cells, "more"]), "It has 5 cells; there are 4 columns."),
    Bad(lambda cells: _joined([cells[0], "many", *cells[2:]]), "fields.size: must be a number"),
    Bad(lambda cells: _joined(["", *cells[1:]]), "fields.title: is required"),
    Bad(lambda cells: 'a,1,"true"x,y', "It is not CSV: text follows a quote that closes."),
    Bad(lambda cells: "a,1,true,b\0c", "It has a NUL character."),
)


class Table(NamedTuple):
    """A file, with the rows that are to be imported of it and those that are to be refused.

    Attributes:
        kept: the fields of every 10,000th good row and of those behind the first bad ones, by
            their places among the good ones.
        refused: what is wrong with rows, by their number in the file, from 1.
    """

    file: Path
    rows: int
    kept: dict[int, dict[str, Any]]
    refused: dict[int, str]


def rows(random: Random) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Good ones, without end: the cells and what becomes of them; an empty cell is no field."""
    number = 0
    while True:
        number += 1
        note = "".join(random.choices(_PIECES, k=random.randint(0, 40)))
        title, size, is_open = f"Line {number}, “first”", number / 4, bool(number % 3)
        fields = {"title": title, "size": size, "open": is_open}
        if note:
            fields["note"] = note
        yield [title, str(size), str(is_open).lower(), note], fields


def write(file: Path, *, size: int, bad_every: int = _BAD_EVERY) -> Table:
    """Write a table of at least `size` bytes; the same one for the same arguments."""
    random, kept, refused, count = Random(size), {}, {}, 0
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        out.write("Title,size,open,note\r\n")
        for cells, fields in rows(random):
            if out.tell() >= size:
                return Table(file, count, kept, refused)
            count += 1
            good = count - len(refused) - 1
            if random.randrange(bad_every) == 0:
                bad = BAD[len(refused) % len(BAD)]
                refused[count] = bad.message
                out.write(bad.row(cells) + "\r\n")
                continue
            if good % 10_000 == 0 or (count - 1 in refused and len(refused) <= 50):
                kept[good] = fields
            out.write(_joined(cells) + "\r\n")
    raise AssertionError("unreachable")
