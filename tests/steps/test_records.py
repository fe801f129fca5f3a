"""`find_records`, `send_questionnaire`, `launch_assessment`: steps about vendors."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import select, update
from standardwebhooks import Webhook

from activities.clients import records
from activities.clients.mail import MailServer
from activities.registry import step_types
from engine.call import StepCall
from engine.errors import StepError
from engine.outcomes import Artifact, Done
from store import assessments, entities, record_tables
from store.database import Database, Tx
from store.publishing import publishing
from store.record_tables import published_events
from store.runs import RunRow
from tests.mail_server import MailBox
from tests.receiver import Receiver
from tests.steps.stepping import Bench, bench
from tests.store.world import World

SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
async def world(sqlite: Database) -> World:
    return await sqlite.write(World.make)


@pytest.fixture
async def run(sqlite: Database, world: World) -> RunRow:
    return await sqlite.write(world.begun)


@pytest.fixture
async def on(sqlite: Database, world: World, run: RunRow) -> AsyncIterator[Bench]:
    async with bench(database=sqlite) as opened:
        yield opened


async def make(sqlite: Database, org: str, kind: str, **fields: JsonValue) -> str:
    new = entities.new_entity(fields)
    create = partial(entities.create, org_id=org, type_named=kind, new=new)
    await publishing(sqlite, lambda tx, verdicts: create(tx, verdicts=verdicts))
    return new.id


async def delete(sqlite: Database, org: str, entity: str) -> None:
    await publishing(
        sqlite, lambda tx, verdicts: entities.archive(tx, org, entity, verdicts, entity)
    )


async def asked(
    on: Bench, run: RunRow, name: str, config: dict[str, Any], **scope: Any
) -> tuple[Any, list[Artifact]]:
    call = StepCall(run=run.id, step="step")
    answer = await on.run(name, config, call=call, key=call.key, org=run.org_id, scope=scope)
    assert isinstance(answer, Done)
    return answer.output, answer.artifacts


async def refused(on: Bench, run: RunRow, name: str, config: dict[str, Any]) -> StepError:
    with pytest.raises(StepError) as caught:
        await asked(on, run, name, config)
    return caught.value


# --- find_records ------------------------------------------------------------------------------


@pytest.fixture
async def vendors(sqlite: Database, world: World, run: RunRow) -> list[str]:
    """Seven vendors, of which one was deleted; and others that must not be found."""
    made = [
        await make(sqlite, run.org_id, "Vendor", n=n, tags=["pii"] if n % 2 else ["other"])
        for n in range(6)
    ]
    gone = await make(sqlite, run.org_id, "Vendor", n=7, tags=["pii"])
    await delete(sqlite, run.org_id, gone)
    await make(sqlite, run.org_id, "Service", n=1, tags=["pii"])
    await make(sqlite, world.other_org, "Vendor", n=1, tags=["pii"])
    return made


RULE = {"rule_type": "field", "path": ["tags"], "op": "contains_any", "value": ["pii"]}


async def test_the_oldest_comes_first(
    on: Bench, run: RunRow, vendors: list[str], sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their ids are; of those of one time the lower id comes first."""
    monkeypatch.setattr(records, "PAGE", 2)
    ages = {5: 1, 0: 2, 3: 2, 4: 2, 2: 3, 1: 4}

    def age(tx: Tx) -> None:
        for n, at in ages.items():
            of = record_tables.entities.c.id == vendors[n]
            tx.execute(update(record_tables.entities).where(of).values(created_at=at))

    await sqlite.write(age)
    output, _ = await asked(on, run, "find_records", {"entity_type": "Vendor"})
    assert [record["fields"]["n"] for record in output["records"]] == [*ages]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, [0, 1, 2, 3, 4, 5]),
        ("'pii' in entity.fields.tags", [1, 3, 5]),
        ("input.tags.all(tag, tag in entity.fields.tags) && entity.fields.n > 1", [3, 5]),
        ({"combiner": "all", "children": [RULE]}, [1, 3, 5]),
        ("entity.fields.nothing == 1", []),
        ("entity.fields.n", []),
        ("entity.type == 'Service'", []),
    ],
)
async def test_it_finds_what_is_like_that(
    on: Bench,
    run: RunRow,
    vendors: list[str],
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    found: list[int],
) -> None:
    monkeypatch.setattr(records, "PAGE", 2)
    config = {"entity_type": "Vendor", "where": where}
    output, artifacts = await asked(on, run, "find_records", config, input={"tags": ["pii"]})
    assert [record["fields"]["n"] for record in output["records"]] == found
    assert [record["id"] for record in output["records"]] == [vendors[n] for n in found]
    assert output["total"] == len(found)
    assert artifacts == []


@pytest.mark.parametrize("limit", [0, 2, 6])
async def test_it_counts_what_it_does_not_answer(
    on: Bench, run: RunRow, vendors: list[str], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(records, "PAGE", 4)
    output, _ = await asked(on, run, "find_records", {"entity_type": "Vendor", "limit": limit})
    assert [record["id"] for record in output["records"]] == vendors[:limit]
    assert output["total"] == 6


async def test_a_type_that_is_not_there_is_an_error(on: Bench, run: RunRow) -> None:
    error = await refused(on, run, "find_records", {"entity_type": "Nothing"})
    assert (error.stable_code, error.retryable) == ("entity_type_not_found", False)


def tree(value: Any) -> dict[str, Any]:
    return {"combiner": "all", "children": [{**RULE, "value": value}]}


async def test_a_tree_with_placeholders_is_judged_in_the_run(on: Bench, run: RunRow) -> None:
    config = {"entity_type": "Vendor", "where": tree("{{ input.tags }}")}
    step_types()["find_records"].config.model_validate(config)
    error = await refused(on, run, "find_records", config)
    assert (error.stable_code, error.retryable) == ("where_invalid", False)
    with pytest.raises(ValueError, match="takes a list"):
        step_types()["find_records"].config.model_validate(config | {"where": tree("pii")})


# --- send_questionnaire ------------------------------------------------------------------------


@pytest.fixture
async def vendor(sqlite: Database, run: RunRow) -> str:
    return await make(sqlite, run.org_id, "Vendor", name="Acme")


def questionnaire(vendor: str, **channel: Any) -> dict[str, Any]:
    return {
        "vendor_id": vendor,
        "questionnaire": "Standard data privacy",
        "channel": channel,
        "context": {"due_date": "2026-06-30"},
    }


@pytest.mark.parametrize("prefix", ["", "cbvndr_"])
async def test_it_asks_and_says_how_to_answer(
    on: Bench, run: RunRow, receiver: Receiver, vendor: str, prefix: str
) -> None:
    config = questionnaire(
        prefix + vendor, type="webhook", url=receiver.url("/asked"), secret=SECRET
    )
    output, artifacts = await asked(on, run, "send_questionnaire", config)
    response = output["questionnaire_response_id"]
    assert artifacts == [
        Artifact(artifact_type="vendor", id=f"cbvndr_{vendor}", role="trigger"),
        Artifact(artifact_type="questionnaire_response", id=response, role="result"),
    ]
    (delivery,) = receiver.deliveries
    assert json.loads(delivery.body) == {
        "questionnaire": "Standard data privacy",
        "questionnaire_response_id": response,
        "vendor": {"id": f"cbvndr_{vendor}", "name": "Acme"},
        "context": {"due_date": "2026-06-30"},
        "answer": {
            "event": "Questionnaire.Answered",
            "data": {"questionnaire_response_id": response},
        },
    }
    assert delivery.key == f"{run.id}/step/-/1"
    Webhook(SECRET).verify(delivery.body, delivery.headers)
    # Another attempt asks in the same words under the same key.
    again, _ = await asked(on, run, "send_questionnaire", config)
    assert again["questionnaire_response_id"] == response
    assert receiver.deliveries[1].body == delivery.body
    assert set(receiver.keys()) == {delivery.key}


async def test_who_is_not_reached_is_a_failure(
    on: Bench, run: RunRow, receiver: Receiver, vendor: str
) -> None:
    for status, retryable in ((500, True), (404, False)):
        url = receiver.url(f"/status/{status}/x")
        config = questionnaire(vendor, type="webhook", url=url)
        error = await refused(on, run, "send_questionnaire", config)
        assert (error.stable_code, error.retryable) == ("http_status", retryable)


async def test_a_vendor_has_to_be_there(
    on: Bench, run: RunRow, sqlite: Database, world: World, receiver: Receiver, vendor: str
) -> None:
    service = await make(sqlite, run.org_id, "Service", name="S")
    foreign = await make(sqlite, world.other_org, "Vendor", name="F")
    await delete(sqlite, run.org_id, vendor)
    for unknown in (vendor, service, foreign, "cbvndr_x", "cbsvc_" + vendor, ""):
        config = questionnaire(unknown, type="webhook", url=receiver.url())
        error = await refused(on, run, "send_questionnaire", config)
        assert (error.stable_code, error.retryable) == ("vendor_not_found", False)
    assert receiver.count("/") == 0


async def test_it_asks_by_mail(sqlite: Database, run: RunRow, vendor: str) -> None:
    config = questionnaire(vendor, type="email", to="privacy@acme.example")
    async with MailBox() as box:
        server = MailServer("127.0.0.1", box.port, encrypted=False)
        async with bench(database=sqlite, mail=server) as on:
            output, _ = await asked(on, run, "send_questionnaire", config)
            await asked(on, run, "send_questionnaire", config)
            for to, code, retryable in (
                ("refused@acme.example", "mail_refused", False),
                ("later@acme.example", "mail_failed", True),
            ):
                error = await refused(
                    on, run, "send_questionnaire", questionnaire(vendor, type="email", to=to)
                )
                assert (error.stable_code, error.retryable) == (code, retryable)
                assert "@" not in error.message
        secret = MailServer("127.0.0.1", box.port, encrypted=False, user="u", password="hidden")
        async with bench(database=sqlite, mail=secret) as on:
            error = await refused(on, run, "send_questionnaire", config)
            assert (error.stable_code, error.retryable) == ("mail_refused", False)
            assert "hidden" not in repr(secret)
    first, second = box.letters
    assert (first["from"], first["to"]) == ("signalbox@example.com", "privacy@acme.example")
    assert first["subject"] == "Standard data privacy"
    assert first["message-id"] == second["message-id"]
    assert output["questionnaire_response_id"] in first.get_content()
    async with bench(database=sqlite, mail=server) as on:
        error = await refused(on, run, "send_questionnaire", config)
        assert (error.stable_code, error.retryable) == ("mail_failed", True)


async def test_without_a_server_there_is_no_mail(on: Bench, run: RunRow, vendor: str) -> None:
    config = questionnaire(vendor, type="email", to="privacy@acme.example")
    error = await refused(on, run, "send_questionnaire", config)
    assert (error.stable_code, error.retryable) == ("mail_not_configured", False)
    assert "SIGNALBOX_SMTP_URL" in error.message


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 587, False)),
        ("smtps://u%40x:p%3Aw@h:2465", MailServer("h", 2465, True, "u@x", "p:w")),
    ],
)
def test_the_url_of_a_mail_server(url: str, server: MailServer) -> None:
    assert MailServer.parse(url) == server


@pytest.mark.parametrize(
    "url", ["mail.example.com", "http://h", "smtp://", "smtp://h:x", "smtp://h/p"]
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="must be smtp://host"):
        MailServer.parse(url)


@pytest.mark.parametrize(
    "channel",
    [
        {},
        {"type": "post"},
        {"type": "webhook"},
        {"type": "webhook", "url": "http://a", "secret": "short"},
        {"type": "email", "to": "nobody"},
        {"type": "email", "to": "a@example.com, b@example.com"},
        {"type": "email", "to": "a@example.com\nbcc: b@example.com"},
        {"type": "email", "to": "a@example.com", "url": "http://a"},
    ],
)
def test_what_is_no_channel(channel: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="channel"):
        step_types()["send_questionnaire"].config.model_validate(questionnaire("a", **channel))


# --- launch_assessment -------------------------------------------------------------------------


async def test_it_begins_one_assessment(
    on: Bench, run: RunRow, sqlite: Database, vendor: str
) -> None:
    service = await make(sqlite, run.org_id, "Service", name="S")
    config = {"vendor_id": vendor, "control_set_ids": ["cbctst_1"], "service_ids": [service]}
    output, artifacts = await asked(on, run, "launch_assessment", config)
    written = output["assessment_id"]
    assert artifacts == [
        Artifact(artifact_type="vendor", id=f"cbvndr_{vendor}", role="trigger"),
        Artifact(artifact_type="assessment", id=written, role="result"),
    ]
    assert (await asked(on, run, "launch_assessment", config))[0] == output

    def look(tx: Tx) -> None:
        rows, total = assessments.page(tx, run.org_id, limit=9, offset=0)
        assert total == 1
        assert written == f"cbqsrw_{rows[0].id}"
        assert (rows[0].name, rows[0].status) == ("Acme", "created")
        assert (rows[0].control_set_ids, rows[0].service_ids) == (["cbctst_1"], [service])
        event = tx.execute(
            select(published_events).where(published_events.c.entity_id == rows[0].id)
        )
        assert [row.name for row in event] == ["Assessment.Created"]

    await sqlite.read(look)


async def test_what_it_is_about_has_to_be_there(on: Bench, run: RunRow, vendor: str) -> None:
    for config, code in (
        ({"vendor_id": "cbvndr_x"}, "vendor_not_found"),
        ({"vendor_id": vendor, "service_ids": [vendor]}, "service_not_found"),
    ):
        error = await refused(on, run, "launch_assessment", config)
        assert (error.stable_code, error.retryable) == (code, False)
