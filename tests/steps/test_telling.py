"""`notify` and `publish`: what they send where, and when they do not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import JsonValue
from standardwebhooks import Webhook

from activities.clients.mail import MailServer
from activities.registry import catalog
from engine.errors import StepError
from engine.outcomes import Done, Outcome, Skip
from engine.validation import check
from tests.mail_server import MailBox
from tests.receiver import Receiver
from tests.steps.stepping import KEY, Bench, bench

SECRET = "whsec_" + "c2VjcmV0" * 4
RUN: dict[str, JsonValue] = {
    "id": "run_ab",
    "workflow_id": "wf_cd",
    "workflow_name": "Weekly\nnews",
}
SCOPE: dict[str, JsonValue] = {"run": RUN | {"version": 3}, "input": {}, "entity": None}
RECORD: dict[str, JsonValue] = {"id": "ef", "type": "Page", "fields": {"slug": "a", "seoScore": 70}}


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    async with bench() as opened:
        yield opened


def output_of(answer: Outcome) -> dict[str, JsonValue]:
    assert isinstance(answer, Done)
    assert isinstance(answer.output, dict)
    return answer.output


def problems(name: str, **config: Any) -> list[str]:
    raw = {"name": "w", "steps": [{"id": "a", "type": name, "config": config}]}
    return [problem.message for problem in check(raw, catalog()).problems]


# --- notify ------------------------------------------------------------------------------------


async def test_it_tells_by_a_signed_request(on: Bench, receiver: Receiver) -> None:
    config = {
        "channel": "webhook",
        "url": receiver.url("/told"),
        "subject": "Two\n lines",
        "message": {"n": [1, None]},
        "secret": SECRET,
    }
    answer = await on.run("notify", config, scope=SCOPE)
    assert list(output_of(answer)) == ["delivered_at"]
    await on.run("notify", config, scope=SCOPE)
    first, second = receiver.deliveries
    assert Webhook(SECRET).verify(first.body, first.headers) == {
        "subject": "Two lines",
        "message": {"n": [1, None]},
        "run": RUN,
    }
    assert (first.method, first.key, first.body) == ("POST", KEY, second.body)
    assert set(receiver.keys()) == {KEY}


@pytest.mark.parametrize("config", [{}, {"subject": " \n"}])
async def test_without_words_it_says_which_run_it_is(
    on: Bench, receiver: Receiver, config: dict[str, Any]
) -> None:
    config = {"channel": "webhook", "url": receiver.url(), **config}
    await on.run("notify", config, scope=SCOPE)
    (sent,) = receiver.deliveries
    told = json.loads(sent.body)
    assert told["subject"] == "Weekly news"
    assert "run_ab" in told["message"]
    assert "webhook-signature" not in sent.headers


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"entity": RECORD}, "about Page ef"),
        (
            {"batch": {"total": 12, "completed": 9, "failed": 3}},
            "of 12 entities 9 are completed and 3 have failed",
        ),
    ],
)
async def test_in_a_batch_it_says_which_entity_or_how_many(
    on: Bench, receiver: Receiver, seen: dict[str, JsonValue], words: str
) -> None:
    config = {"channel": "webhook", "url": receiver.url(), "once": "batch" in seen}
    await on.run("notify", config, scope={"run": RUN, "input": {}, **seen})
    (sent,) = receiver.deliveries
    assert words in json.loads(sent.body)["message"]


async def test_it_tells_by_mail() -> None:
    config = {
        "channel": "email",
        "to": "owner@acme.example",
        "subject": "Grüße\r\nBcc: x@y.example",
    }
    async with (
        MailBox() as box,
        bench(mail=MailServer("127.0.0.1", box.port, encrypted=False)) as on,
    ):
        answer = await on.run("notify", config | {"message": "Fertig: ✓"}, scope=SCOPE)
        await on.run("notify", config | {"message": {"n": "é"}}, scope=SCOPE)
        await on.run("notify", config, scope=SCOPE)
        for to, code, retryable in (
            ("refused@acme.example", "mail_refused", False),
            ("later@acme.example", "mail_failed", True),
        ):
            with pytest.raises(StepError) as caught:
                await on.run("notify", config | {"to": to}, scope=SCOPE)
            assert (caught.value.stable_code, caught.value.retryable) == (code, retryable)
    assert list(output_of(answer)) == ["delivered_at"]
    text, value, none = box.letters
    assert (text["to"], text["subject"]) == ("owner@acme.example", "Grüße Bcc: x@y.example")
    assert text["bcc"] is None
    assert text.get_content().strip() == "Fertig: ✓"
    assert json.loads(value.get_content()) == {"n": "é"}
    assert "run_ab" in none.get_content()
    assert text["message-id"] == value["message-id"]


async def test_who_is_not_reached_is_a_failure(on: Bench, receiver: Receiver) -> None:
    for status, retryable in ((500, True), (404, False)):
        url = receiver.url(f"/status/{status}/x")
        for name, config in (
            ("notify", {"channel": "webhook", "url": url}),
            ("publish", {"target": {"url": url}}),
        ):
            with pytest.raises(StepError) as caught:
                await on.run(name, config, scope=SCOPE)
            assert (caught.value.stable_code, caught.value.retryable) == ("http_status", retryable)
    with pytest.raises(StepError) as caught:
        await on.run("notify", {"channel": "email", "to": "a@b.example"}, scope=SCOPE)
    assert (caught.value.stable_code, caught.value.retryable) == ("mail_not_configured", False)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"channel": "sms", "to": "a@b.example"}, "channel"),
        ({"channel": "email"}, "'email' needs 'to'"),
        ({"channel": "email", "to": "nobody"}, "must be one e-mail address"),
        ({"channel": "email", "to": "a@b.example, c@d.example"}, "must be one e-mail address"),
        ({"channel": "email", "to": "a@b.example", "url": "http://a"}, "takes no 'url'"),
        ({"channel": "email", "to": "a@b.example", "secret": SECRET}, "takes no 'secret'"),
        ({"channel": "webhook"}, "'webhook' needs 'url'"),
        ({"channel": "webhook", "url": "http://a", "to": "a@b.example"}, "takes no 'to'"),
        ({"channel": "webhook", "url": "http://a", "secret": "hushhush"}, "`whsec_`"),
        ({"channel": "webhook", "url": "http://a", "once": "yes"}, "once"),
        ({"channel": "webhook", "url": "http://a", "subject": ""}, "subject"),
    ],
)
def test_what_is_no_notification(config: dict[str, Any], complaint: str) -> None:
    (message,) = problems("notify", **config)
    assert complaint in message
    assert "hushhush" not in message


def test_what_a_placeholder_will_hold_is_known_in_the_run() -> None:
    assert problems("notify", channel="email", to="{{ input.owner }}") == []
    secret = "{{ secrets.SIGNING }}"
    assert problems("notify", channel="webhook", url="{{ input.url }}", secret=secret) == []
    target = {"url": "{{ input.url }}", "secret": secret}
    assert problems("publish", target=target, minSeoScore="{{ input.least }}") == []


# --- publish -----------------------------------------------------------------------------------


async def test_it_publishes_what_it_is_given(on: Bench, receiver: Receiver) -> None:
    config = {
        "target": {"url": receiver.url("/status/201/pages"), "secret": SECRET},
        "content": {"title": "Zoë"},
    }
    answer = await on.run("publish", config, scope=SCOPE)
    output = output_of(answer)
    assert output["status_code"] == 201
    assert list(output) == ["status_code", "published_at"]
    await on.run("publish", config, scope=SCOPE)
    first, second = receiver.deliveries
    assert Webhook(SECRET).verify(first.body, first.headers) == {"title": "Zoë"}
    assert (first.method, first.key, first.body) == ("POST", KEY, second.body)
    assert set(receiver.keys()) == {KEY}


@pytest.mark.parametrize(
    ("config", "entity", "sent"),
    [
        ({}, RECORD, RECORD),
        ({}, None, {"seoScore": 20}),
        ({"content": None}, RECORD, None),
        ({"content": "<p>Hello</p>"}, RECORD, "<p>Hello</p>"),
    ],
)
async def test_without_content_it_publishes_the_record_or_the_input(
    on: Bench, receiver: Receiver, config: dict[str, Any], entity: JsonValue, sent: JsonValue
) -> None:
    scope = {"input": {"seoScore": 20}, "entity": entity}
    await on.run("publish", {"target": {"url": receiver.url()}, **config}, scope=scope)
    assert json.loads(receiver.deliveries[0].body) == sent


@pytest.mark.parametrize(
    ("config", "published"),
    [
        ({"minSeoScore": 70}, True),
        ({"minSeoScore": 70.5}, False),
        ({"minSeoScore": 70, "content": {"seoScore": 80}}, True),
        ({"minSeoScore": 70, "content": {"seoScore": 60, "fields": {"seoScore": 80}}}, False),
        ({"minSeoScore": 70, "content": {"seoScore": True, "fields": {"seoScore": 80}}}, True),
        ({"minSeoScore": 70, "content": {"seoScore": "80"}}, False),
        ({"minSeoScore": 70, "content": {}}, False),
        ({"minSeoScore": 0, "content": "text"}, False),
        ({"minSeoScore": 70, "content": "text", "seoScore": 70}, True),
        ({"minSeoScore": 70, "content": {"seoScore": 80}, "seoScore": 60}, False),
        ({"minSeoScore": 70, "content": {"seoScore": 80}, "seoScore": None}, False),
        ({"minSeoScore": None, "content": {"seoScore": 1}}, True),
    ],
)
async def test_what_scores_too_low_is_skipped(
    on: Bench, receiver: Receiver, config: dict[str, Any], published: bool
) -> None:
    config = {"target": {"url": receiver.url("/pages")}, **config}
    answer = await on.run("publish", config, scope={"input": {}, "entity": RECORD})
    assert receiver.count("/pages") == published
    if not published:
        assert isinstance(answer, Skip)
        assert "SEO score" in answer.reason


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"target": "https://a"},
        {"target": {}},
        {"target": {"url": "https://a", "secret": "short"}},
        {"target": {"url": "https://a", "method": "PUT"}},
        {"target": {"url": "https://a"}, "minSeoScore": 101},
        {"target": {"url": "https://a"}, "minSeoScore": -1},
        {"target": {"url": "https://a"}, "bucketId": "b"},
    ],
)
def test_what_is_nothing_to_publish_to(config: dict[str, Any]) -> None:
    assert len(problems("publish", **config)) == 1
