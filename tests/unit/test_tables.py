"""CSV in pieces of any size is what Python's reader makes of the whole."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.door import Refused
from app.services.incoming import LONGEST_ROW
from app.services.rows import CSV
from tests.unit.test_rows import fields, read

#: Line ends of other worlds, which are text here.
STRANGE = "\u2028\u2029\x85\v\f\x1c"
SIZES = st.sampled_from([1, 2, 3, 7, 64, 10_000])
CELLS = st.text(st.sampled_from('ab" ,;\t\né' + STRANGE), max_size=6)


@given(
    rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    size=SIZES,
)
async def test_what_a_writer_wrote_comes_back(
    rows: list[list[str]], quoting: Any, end: str, size: int
) -> None:
    if end == "\r\n":
        rows = [[cell.replace("b", "\r") for cell in row] for row in rows]
    file = io.StringIO(newline="")
    csv.writer(file, quoting=quoting, lineterminator=end).writerows([["x", "y"], *rows])
    found, _ = await read(CSV, file.getvalue(), size)
    kept = [row for row in rows if any(cell.strip(" \t\r\n") for cell in row)]
    assert fields(found) == [dict(zip("xy", row, strict=True)) for row in kept]


@given(text=st.text(st.sampled_from('ab",\n\r' + STRANGE), max_size=40), size=SIZES)
async def test_any_text_is_read_as_pythons_reader_does(text: str, size: int) -> None:
    """Each record is there, until one whose end is not known, which is refused."""
    whole = io.StringIO(text, newline="")
    lines, at = whole.readlines(), 0
    expected: list[dict[str, str] | None] = []
    refused = False
    while at < len(lines) and not refused:
        reader = csv.reader(lines[at:], strict=True)
        try:
            cells = next(reader)
            if any(cell.strip(" \t\r\n") for cell in cells):
                expected.append(dict(zip("xy", cells, strict=True)) if len(cells) == 2 else None)
        except csv.Error as error:
            refused = reader.line_num > 1 or "unexpected end" in str(error)
            expected.append(None)
        at += reader.line_num
    if refused:
        with pytest.raises(Refused, match=f"^Row {len(expected)} opens a quote"):
            await read(CSV, "x,y\n" + text, size)
        return
    found, _ = await read(CSV, "x,y\n" + text, size)
    assert fields(found) == expected
    assert [row.number for row in found] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('name,size\nA,1\n5" pipe,2\nB,3\n', [("A", "1"), ('5" pipe', "2"), ("B", "3")]),
        ("name,size\rA,1\r\rB,2", [("A", "1"), ("B", "2")]),
        ('name,size\r"A\rB",1\r', [("A\rB", "1")]),
        ("name,size\nA,1\n,\n \t\n , \nB,2\n", [("A", "1"), ("B", "2")]),
        (f"name,size\nA,{STRANGE}\n", [("A", STRANGE)]),
        ("\n\r\n\ufeffname,size\nA,1\n"[3:], [("A", "1")]),
    ],
)
async def test_lines_and_quotes(body: str, expected: list[tuple[str, str]], size: int) -> None:
    found, _ = await read(CSV, body, size)
    assert fields(found) == [{"name": name, "size": number} for name, number in expected]


async def test_a_quote_in_the_name_of_a_column() -> None:
    found, _ = await read(CSV, 'size 5",b\n1,2\n3,4\n')
    assert fields(found) == [{'size 5"': "1", "b": "2"}, {'size 5"': "3", "b": "4"}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', "Row 2 opens a quote that does not close."),
        ('a,"b\n1,2\n', "The first line opens a quote that does not close."),
        ('a,b\n1,"2\n3,"4"\n', "Row 1 opens a quote that closes inside of a cell of a later"),
        ('a,b\n1,2\n3,"' + "x\n" * LONGEST_ROW, "Row 2 is too long, or a quote in it does not"),
        ("a,b\n1," + "x" * LONGEST_ROW, "Row 1 is too long"),
        ('"a"b,c\n1,2', "The first line cannot be used. It is not CSV"),
        ("a,b,a\n1,2,3", "The first line names column 'a' twice."),
        ("a,,b\n1,2,3", "The first line has no name for column 2."),
        ("name;tier\nA;gold", "The first line names one column with a semicolon or a tab"),
        ("name\ttier\nA\tgold", "The first line names one column with a semicolon or a tab"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said(body: str, message: str) -> None:
    with pytest.raises(Refused) as refused:
        await read(CSV, body, 30_000)
    assert refused.value.message.startswith(message)


async def test_a_long_cell_is_taken_whole() -> None:
    cell = "x,\n" * 60_000
    found, _ = await read(CSV, f'a,b\n1,"{cell}"\n2,"{cell}"\n3,4', 30_000)
    assert [row.fields and row.fields["a"] for row in found] == ["1", "2", "3"]
    assert found[1].fields == {"a": "2", "b": cell}


async def test_empty_lines_do_not_make_a_row_long() -> None:
    found, _ = await read(
        CSV, "a\n" + "x" * (LONGEST_ROW - 1) + "\n" * 2 * LONGEST_ROW + "y", 30_000
    )
    assert [len(row.fields["a"]) for row in found if row.fields] == [LONGEST_ROW - 1, 1]
