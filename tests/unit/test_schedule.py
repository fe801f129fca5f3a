"""Cron expressions of five fields: what they mean, and what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Invalid
from engine.schedule import Cron, parse_cron, ranges

ALL = Cron(
    tuple(range(60)), tuple(range(24)), tuple(range(1, 32)), tuple(range(1, 13)), tuple(range(7))
)


def test_stars_are_everything() -> None:
    assert parse_cron("* * * * *") == ALL
    assert parse_cron("  *\t*  * * * ") == ALL
    assert parse_cron("0-59 0-23 1-31 1-12 0-7") == ALL


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("5", [5]),
        ("05", [5]),
        ("1-3", [1, 2, 3]),
        ("3-3", [3]),
        ("*/20", [0, 20, 40]),
        ("50/4", [50, 54, 58]),
        ("10-20/5", [10, 15, 20]),
        ("*/100", [0]),
        ("30,5,5-7", [5, 6, 7, 30]),
    ],
)
def test_values_ranges_steps_and_lists(field: str, values: list[int]) -> None:
    assert parse_cron(f"{field} * * * *").minutes == tuple(values)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("MON-FRI", [1, 2, 3, 4, 5]),
        ("su,Sat", [0, 6]),
        ("7", [0]),
        ("5-7", [0, 5, 6]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("*/2", [0, 2, 4, 6]),
        ("2/2", [2, 4, 6]),
        ("1/2", [0, 1, 3, 5]),
        ("1-7", [0, 1, 2, 3, 4, 5, 6]),
        ("thursday", [4]),
    ],
)
def test_days_of_the_week(field: str, values: list[int]) -> None:
    assert parse_cron(f"* * * * {field}").weekdays == tuple(values)


@pytest.mark.parametrize(("field", "values"), [("jan,Sept", [1, 9]), ("OCT-DEC", [10, 11, 12])])
def test_months(field: str, values: list[int]) -> None:
    assert parse_cron(f"* * * {field} *").months == tuple(values)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@hourly", "five fields"),
        ("CRON_TZ=UTC * * * * *", "five fields"),
        ("60 * * * *", "The minute must be 0 to 59."),
        ("* 24 * * *", "The hour must be 0 to 23."),
        ("* * 0 * *", "The day of the month must be 1 to 31."),
        ("* * * 13 *", "The month must be 1 to 12, or a name such as FEB."),
        ("* * * * 8", "The day of the week must be 0 to 7, or a name such as MON."),
        ("* * * ja *", "The month must be"),
        ("* * * * m", "The day of the week must be"),
        ("* * * * mondayx", "The day of the week must be"),
        ("MON * * * *", "The minute must be"),
        ("5-1 * * * *", "ends before it begins"),
        ("* * * * sat-sun", "ends before it begins"),
        ("*/0 * * * *", "a step of 0"),
        ("*-5 * * * *", "not a list"),
        ("1,,2 * * * *", "not a list"),
        ("1- * * * *", "not a list"),
        ("-1 * * * *", "not a list"),
        ("+1 * * * *", "not a list"),
        ("1_0 * * * *", "not a list"),
        ("5/ * * * *", "not a list"),
        ("5/5/5 * * * *", "not a list"),
        ("٣ * * * *", "ASCII"),
        ("* * ? * *", "not a list"),
        ("* * L * *", "The day of the month must be"),
        ("0 0 30 2 *", "never fire"),
        ("0 0 31 feb,apr-jun/2,6,9,11 *", "never fire"),
        ("1," * 100 + "1 * * * *", "200 characters"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        parse_cron(text)


def test_everything_is_said_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        parse_cron("60 x 0 13 8")
    for field in ("minute", "hour", "day of the month", "month", "day of the week"):
        assert f"The {field} must be" in refused.value.message


@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 29 2 MON", "0 0 31 2,3 *", "0 0 30,31 2,4 *"])
def test_what_fires_seldom_is_taken(text: str) -> None:
    parse_cron(text)


@given(st.text(max_size=40))
def test_nothing_else_is_raised(text: str) -> None:
    try:
        parse_cron(text)
    except Invalid:
        return


@given(st.sets(st.integers(0, 59), min_size=1))
def test_ranges_hold_the_same_values(values: set[int]) -> None:
    found = list(ranges(tuple(sorted(values))))
    assert {v for first, last in found for v in range(first, last + 1)} == values
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(found))
