"""What a schedule says: cron expressions of five fields, and what happens when starts overlap.

A time matches when all five fields match. Other crons let either of the two day fields match when
both are restricted; Temporal, which fires schedules, does not, so `0 0 13 * FRI` means Friday the
13th. When exactly a schedule fires in its zone is for Temporal to say: decision 0011.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import Invalid


class Overlap(StrEnum):
    """What happens to a start while the run of an earlier one is open."""

    #: It is not made.
    SKIP = "skip"
    #: It is made when that run is over; one such start is kept, or all of them.
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    #: The open run is ended, and the start is made then.
    CANCEL_OTHER = "cancel_other"
    TERMINATE_OTHER = "terminate_other"
    #: It is made at once.
    ALLOW_ALL = "allow_all"


@dataclass(frozen=True)
class Cron:
    """The values of each field, ascending. Weekdays are 0 (Sunday) to 6."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]


@dataclass(frozen=True)
class _Field:
    """One field: its name for people, its bounds, the names of its values, how short they may be.

    Attributes:
        last: the greatest number that may be written; 7 is one more name of Sunday.
    """

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    shortest: int = 0


_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 3),
    _Field("day of the week", 0, 7, _WEEKDAYS, 2),
)
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: A whole field, a value or a range, each with or without a step.
_PART = re.compile(r"(\*|[0-9a-z]{1,9}(?:-[0-9a-z]{1,9})?)(?:/([0-9]{1,4}))?")
#: Characters of an expression; Temporal keeps a comment of this length beside each calendar.
LONGEST = 200


def parse_cron(text: str) -> Cron:
    """The expression's five fields.

    >>> parse_cron("0 9 * * MON-FRI").weekdays
    (1, 2, 3, 4, 5)

    Raises:
        Invalid: it has not five fields, one of them is not valid, or it can never fire; the message
            says everything.
    """
    written = text.lower().split()
    if len(text) > LONGEST or not text.isascii():
        raise Invalid(f"A cron expression has at most {LONGEST} characters, all of them ASCII.")
    if len(written) != len(_FIELDS):
        raise Invalid(
            "A cron expression has five fields: minute, hour, day of the month, month and day of "
            "the week. Seconds, years, zones and words such as @daily are not taken."
        )
    fields, wrong = [], []
    for field, part in zip(_FIELDS, written, strict=True):
        try:
            fields.append(_values(field, part))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise Invalid(" ".join(wrong))
    cron = Cron(*fields)
    if not any(day <= _LONGEST_MONTHS[month - 1] for month in cron.months for day in cron.days):
        raise Invalid("It can never fire: none of its months has any of its days.")
    return cron


def _values(field: _Field, written: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in written.split(","):
        matched = _PART.fullmatch(part)
        if matched is None:
            raise ValueError(
                f"The {field.name} is not a list of values, ranges and steps such as */5 or 1-5."
            )
        span, step = matched.group(1), matched.group(2)
        if step is not None and int(step) == 0:
            raise ValueError(f"The {field.name} has a step of 0.")
        first, last = _span(field, span, open_ended=step is not None)
        found.update(range(first, last + 1, int(step or 1)))
    if field.last == 7:
        found = {value % 7 for value in found}
    return tuple(sorted(found))


def _span(field: _Field, written: str, *, open_ended: bool) -> tuple[int, int]:
    """First and last value; a single one with a step goes on to the end of the field."""
    if written == "*":
        return field.first, field.last
    low, dash, high = written.partition("-")
    first = _value(field, low)
    if not dash:
        return first, field.last if open_ended else first
    last = _value(field, high)
    if last < first:
        raise ValueError(f"The {field.name} has a range that ends before it begins.")
    return first, last


def _value(field: _Field, written: str) -> int:
    if written.isdigit() and field.first <= int(written) <= field.last:
        return int(written)
    if field.names and len(written) >= field.shortest:
        for number, name in enumerate(field.names, start=field.first):
            if name.startswith(written):
                return number
    names = f", or a name such as {field.names[1][:3].upper()}" if field.names else ""
    raise ValueError(f"The {field.name} must be {field.first} to {field.last}{names}.")


def ranges(values: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The values as ranges without gaps: first and last of each.

    >>> list(ranges((0, 30, 31, 32)))
    [(0, 0), (30, 32)]
    """
    first = values[0]
    for value, following in zip(values, (*values[1:], None), strict=True):
        if following != value + 1:
            yield first, value
            first = following if following is not None else value
