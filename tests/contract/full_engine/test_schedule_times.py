"""When schedules fire: the preview, against reference lists and the server's own times."""

import re
from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from temporalio.client import Client, ScheduleSpec

from app.services.timetable import spec
from engine.schedule import parse_cron
from tests.contract.full_engine.timing import keep, matching, scheduled

#: The days around both changes of the clocks in New York in 2027: at 2:00 on 14 March 2:00 becomes
#: 3:00, and on 7 November 2:00 becomes 1:00.
SPRING = ("2027-03-12T00:00:00Z", "2027-03-16T23:59:59Z")
AUTUMN = ("2027-11-05T00:00:00Z", "2027-11-09T23:59:59Z")
REFERENCE = [
    (
        "0 9 * * 1-5",
        SPRING,
        [
            ("2027-03-12T14:00:00Z", "2027-03-12T09:00:00-05:00"),
            ("2027-03-15T13:00:00Z", "2027-03-15T09:00:00-04:00"),
            ("2027-03-16T13:00:00Z", "2027-03-16T09:00:00-04:00"),
        ],
    ),
    (
        "0 9 * * 1-5",
        AUTUMN,
        [
            ("2027-11-05T13:00:00Z", "2027-11-05T09:00:00-04:00"),
            ("2027-11-08T14:00:00Z", "2027-11-08T09:00:00-05:00"),
            ("2027-11-09T14:00:00Z", "2027-11-09T09:00:00-05:00"),
        ],
    ),
    (
        "30 1 * * *",
        SPRING,
        [
            ("2027-03-12T06:30:00Z", "2027-03-12T01:30:00-05:00"),
            ("2027-03-13T06:30:00Z", "2027-03-13T01:30:00-05:00"),
            ("2027-03-14T06:30:00Z", "2027-03-14T01:30:00-05:00"),
            ("2027-03-15T05:30:00Z", "2027-03-15T01:30:00-04:00"),
            ("2027-03-16T05:30:00Z", "2027-03-16T01:30:00-04:00"),
        ],
    ),
    (
        "30 1 * * *",
        AUTUMN,
        [
            ("2027-11-05T05:30:00Z", "2027-11-05T01:30:00-04:00"),
            ("2027-11-06T05:30:00Z", "2027-11-06T01:30:00-04:00"),
            # It comes twice, and so does the start.
            ("2027-11-07T05:30:00Z", "2027-11-07T01:30:00-04:00"),
            ("2027-11-07T06:30:00Z", "2027-11-07T01:30:00-05:00"),
            ("2027-11-08T06:30:00Z", "2027-11-08T01:30:00-05:00"),
            ("2027-11-09T06:30:00Z", "2027-11-09T01:30:00-05:00"),
        ],
    ),
    (
        "30 2 * * *",
        SPRING,
        [
            ("2027-03-12T07:30:00Z", "2027-03-12T02:30:00-05:00"),
            ("2027-03-13T07:30:00Z", "2027-03-13T02:30:00-05:00"),
            # There is no half past two on the 14th, and no start.
            ("2027-03-15T06:30:00Z", "2027-03-15T02:30:00-04:00"),
            ("2027-03-16T06:30:00Z", "2027-03-16T02:30:00-04:00"),
        ],
    ),
    (
        "30 2 * * *",
        AUTUMN,
        [
            ("2027-11-05T06:30:00Z", "2027-11-05T02:30:00-04:00"),
            ("2027-11-06T06:30:00Z", "2027-11-06T02:30:00-04:00"),
            ("2027-11-07T07:30:00Z", "2027-11-07T02:30:00-05:00"),
            ("2027-11-08T07:30:00Z", "2027-11-08T02:30:00-05:00"),
            ("2027-11-09T07:30:00Z", "2027-11-09T02:30:00-05:00"),
        ],
    ),
]


@pytest.fixture(scope="session")
async def client(temporal: str) -> Client:
    return await Client.connect(temporal)


@pytest.mark.parametrize(("cron", "span", "expected"), REFERENCE)
async def test_the_changes_of_the_clocks(
    api: httpx2.AsyncClient, cron: str, span: tuple[str, str], expected: list[tuple[str, str]]
) -> None:
    address = await scheduled(api, cron_expression=cron)
    answer = await api.get(f"{address}/preview", params={"start": span[0], "until": span[1]})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [(time["at"], time["local"]) for time in found["times"]] == expected
    assert (found["timezone"], found["more"]) == ("America/New_York", False)
    assert found["enabled"] is False


@pytest.mark.parametrize("cron", ["0 9 * * 1-5", "30 1 * * *", "30 2 * * *"])
async def test_the_preview_of_a_year_is_what_the_server_makes_of_the_text(
    api: httpx2.AsyncClient, client: Client, cron: str
) -> None:
    """The server is asked about a Schedule that has the expression itself, and not our calendar."""
    start, end = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
    address = await scheduled(api, cron_expression=cron)
    answer = await api.get(
        f"{address}/preview", params={"start": "2027-01-01T00:00:00Z", "until": end.isoformat()}
    )
    times = [time["at"] for time in answer.json()["times"]]
    text = ScheduleSpec(cron_expressions=[cron], time_zone_name="America/New_York")
    await keep(client, f"text-{cron}", text)
    assert times == await matching(client, f"text-{cron}", start, end)
    assert len(times) > 250


async def test_both_day_fields_have_to_match(api: httpx2.AsyncClient) -> None:
    """Friday the 13th; other crons would fire on every Friday and on every 13th."""
    address = await scheduled(api, cron_expression="0 0 13 * FRI", timezone="UTC")
    answer = await api.get(
        f"{address}/preview", params={"start": "2026-01-01T00:00:00Z", "count": 4}
    )
    assert [time["at"][:10] for time in answer.json()["times"]] == [
        "2026-02-13",
        "2026-03-13",
        "2026-11-13",
        "2027-08-13",
    ]


async def test_how_much_is_previewed(api: httpx2.AsyncClient) -> None:
    address = await scheduled(api, cron_expression="* * * * *", timezone="UTC")

    async def preview(**params: str | int) -> tuple[list[str], bool]:
        answer = await api.get(f"{address}/preview", params=params)
        assert answer.status_code == 200, answer.text
        return [time["at"] for time in answer.json()["times"]], answer.json()["more"]

    assert (len((await preview())[0]), (await preview())[1]) == (10, True)
    assert len((await preview(count=1_000))[0]) == 1_000
    start, until = "2027-01-01T00:00:00Z", "2027-01-01T00:02:00Z"
    minutes = [f"2027-01-01T00:0{minute}:00Z" for minute in range(3)]
    assert await preview(start=start, until=until) == (minutes, False)
    assert await preview(start=start, until=until, count=2) == (minutes[:2], True)
    # Both ends belong to it, to the microsecond.
    assert await preview(start="2027-01-01T00:00:00.000001Z", until=until) == (minutes[1:], False)
    assert await preview(start=start, until="2027-01-01T00:01:59.999999Z") == (minutes[:2], False)
    assert (await preview(start="0001-01-01T00:00:00Z", count=1))[0][0] >= "1970"
    for query in (
        "count=0",
        "count=1001",
        "start=2027-01-01T00:00:00",
        "until=soon",
        "start=2027-01-02T00:00:00Z&until=2027-01-01T00:00:00Z",
        "start=9999-01-01T00:00:00Z",
    ):
        answer = await api.get(f"{address}/preview?{query}")
        assert answer.status_code == 422, query
        assert answer.json()["problems"][0]["path"].startswith("query."), query


def parts(first: int, last: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    """Fields of all kinds that there are."""
    value = st.integers(first, last).map(str)
    if names:
        value = value | st.sampled_from(names)
    spans = st.tuples(st.integers(first, last), st.integers(first, last)).map(
        lambda two: f"{min(two)}-{max(two)}"
    )
    part = st.one_of(
        st.just("*"),
        value,
        spans,
        st.tuples(st.just("*") | spans | value, st.integers(1, last + 3)).map(
            lambda two: f"{two[0]}/{two[1]}"
        ),
    )
    return st.lists(part, min_size=1, max_size=3).map(",".join)


MONTHS = ("JAN", "febr", "March", "sept", "DEC")
WEEKDAYS = ("SUN", "mo", "Tues", "saturday")
CRONS = st.tuples(
    parts(0, 59), parts(0, 23), parts(1, 28), parts(1, 12, MONTHS), parts(0, 7, WEEKDAYS)
).map(" ".join)
ZONES = st.sampled_from(
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata"]
)

#: Every day of the week; Server 1.32 takes it for Monday to Saturday. Ours is what was written.
MONDAY_TO_SUNDAY = re.compile(r"[ ,]1-7(/1)?(,|$)")


async def test_monday_to_sunday_is_every_day(api: httpx2.AsyncClient) -> None:
    address = await scheduled(api, cron_expression="0 12 * * 1-7", timezone="UTC")
    answer = await api.get(
        f"{address}/preview", params={"start": "2027-01-01T00:00:00Z", "count": 7}
    )
    assert [time["at"][8:10] for time in answer.json()["times"]] == [
        f"{day:02}" for day in range(1, 8)
    ]


@given(cron=CRONS, zone=ZONES, month=st.integers(1, 12))
@settings(max_examples=100)
async def test_our_calendar_is_what_the_server_makes_of_the_text(
    client: Client, cron: str, zone: str, month: int
) -> None:
    parse_cron(cron)
    assume(not MONDAY_TO_SUNDAY.search(cron))
    start, end = datetime(2027, month, 1, tzinfo=UTC), datetime(2030, month, 1, tzinfo=UTC)
    await keep(client, "text", ScheduleSpec(cron_expressions=[cron], time_zone_name=zone))
    await keep(client, "ours", spec(cron, zone))
    assert await matching(client, "ours", start, end) == await matching(client, "text", start, end)
