"""`http_request`, `webhook` and `script`: what they send, and what they make of the answer."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from activities.registry import catalog
from engine.errors import StepError
from engine.outcomes import Done
from engine.validation import check
from tests.receiver import Receiver
from tests.steps.http_door_peer import Send, message, serve
from tests.steps.stepping import KEY, Bench, bench

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
async def on() -> AsyncIterator[Bench]:
    async with bench() as opened:
        yield opened


async def error_of(on: Bench, name: str, **config: object) -> StepError:
    with pytest.raises(StepError) as caught:
        await on.run(name, config)
    return caught.value


# --- http_request ------------------------------------------------------------------------------


async def test_a_request_is_sent_as_it_is_written(on: Bench, receiver: Receiver) -> None:
    answer = await on.run(
        "http_request",
        {
            "method": "PUT",
            "url": receiver.url("/things?a=1"),
            "params": {"b": "x y", "n": 2},
            "headers": {"X-Own": "yes"},
            "body": {"name": "Zoë", "list": [1, None]},
        },
    )
    sent = receiver.deliveries[0]
    assert sent.method == "PUT"
    assert parse_qsl(urlsplit(sent.path).query) == [("a", "1"), ("b", "x y"), ("n", "2")]
    assert json.loads(sent.body) == {"name": "Zoë", "list": [1, None]}
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["x-own"] == "yes"
    assert sent.key == KEY
    assert answer == Done(output={"status_code": 200, "body": {"path": sent.path, "n": 1}})


@pytest.mark.parametrize(
    ("body", "kind", "sent"),
    [
        ("plain", "text/plain; charset=utf-8", b"plain"),
        ("", "text/plain; charset=utf-8", b""),
        (0, "application/json", b"0"),
        ([], "application/json", b"[]"),
        (None, None, b""),
    ],
)
async def test_a_body_has_its_type(
    on: Bench, receiver: Receiver, body: object, kind: str | None, sent: bytes
) -> None:
    await on.run("http_request", {"method": "POST", "url": receiver.url(), "body": body})
    assert receiver.deliveries[0].headers.get("content-type") == kind
    assert receiver.deliveries[0].body == sent


async def test_headers_of_the_definition_win(on: Bench, receiver: Receiver) -> None:
    headers = {"idempotency-key": "mine", "content-type": "application/x-own"}
    config = {"method": "POST", "url": receiver.url(), "headers": headers, "body": {"a": 1}}
    await on.run("http_request", config)
    assert receiver.deliveries[0].key == "mine"
    assert receiver.deliveries[0].headers["content-type"] == "application/x-own"


@pytest.mark.parametrize(
    ("code", "retryable"),
    [(400, False), (404, False), (408, True), (425, True), (429, True), (500, True), (503, True)],
)
async def test_a_bad_status_fails(
    on: Bench, receiver: Receiver, code: int, retryable: bool
) -> None:
    for name in ("http_request", "webhook"):
        error = await error_of(on, name, url=receiver.url(f"/status/{code}/x"))
        assert (error.stable_code, error.retryable) == ("http_status", retryable)
        assert str(code) in error.message


@pytest.mark.parametrize("code", [301, 404, 500])
async def test_a_status_may_be_an_answer(on: Bench, receiver: Receiver, code: int) -> None:
    config = {"url": receiver.url(f"/status/{code}/x"), "fail_on_status": False}
    answer = await on.run("http_request", config)
    assert isinstance(answer, Done)
    assert isinstance(answer.output, dict)
    assert answer.output["status_code"] == code


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        (b'{"a": [1]}', b"application/json; charset=utf-8", {"a": [1]}),
        (b'{"a": 1}', b"application/problem+json", {"a": 1}),
        (b'{"a": 1}', b"text/plain", '{"a": 1}'),
        (b"{broken", b"application/json", "{broken"),
        (b"caf\xe9", b"text/plain", "caf\ufffd"),
        (b"", b"application/json", ""),
    ],
)
async def test_a_body_is_parsed_where_it_says_so(
    on: Bench, content: bytes, kind: bytes, body: object
) -> None:
    async def answering(request: bytes, send: Send) -> None:
        await send(message(content, b"Content-Type: " + kind))

    async with serve(answering) as peer:
        answer = await on.run("http_request", {"url": peer.url})
    assert answer == Done(output={"status_code": 200, "body": body})


async def test_a_request_has_its_time(on: Bench, receiver: Receiver) -> None:
    for name, config in (
        ("http_request", {"url": receiver.url("/slow/30/a"), "timeout": 0.2}),
        ("http_request", {"url": receiver.url("/slow/30/b"), "timeout": 60}),
        ("webhook", {"url": receiver.url("/slow/30/c")}),
    ):
        with pytest.raises(StepError) as caught:
            await on.run(name, config, timeout=0.3)
        assert caught.value.retryable


async def test_private_addresses_are_refused(receiver: Receiver) -> None:
    async with bench(egress="") as closed:
        for name in ("http_request", "webhook"):
            error = await error_of(closed, name, url=receiver.url())
            assert "SIGNALBOX_EGRESS_ALLOW" in error.message
            assert not error.retryable
    assert receiver.count("/") == 0


# --- webhook -----------------------------------------------------------------------------------


async def test_a_webhook_is_signed(on: Bench, receiver: Receiver) -> None:
    payload = {"name": "Zoë"}
    config = {
        "url": receiver.url("/hook"),
        "payload": payload,
        "secret": SECRET,
        "headers": {"X-Own": "yes"},
    }
    assert await on.run("webhook", config) == Done(output={"status_code": 200})
    sent = receiver.deliveries[0]
    assert (sent.method, sent.key, sent.headers["webhook-id"]) == ("POST", KEY, KEY)
    assert sent.headers["x-own"] == "yes"
    assert Webhook(SECRET).verify(sent.body, sent.headers) == payload
    assert abs(int(sent.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(sent.body + b" ", sent.headers)


async def test_a_webhook_without_a_secret_is_not_signed(on: Bench, receiver: Receiver) -> None:
    await on.run("webhook", {"url": receiver.url(), "method": "PUT"})
    assert "webhook-signature" not in receiver.deliveries[0].headers
    assert (receiver.deliveries[0].method, receiver.deliveries[0].body) == ("PUT", b"null")


@pytest.mark.parametrize("secret", ["whsec_not-base64-é", "notwhsec" * 8, "whsec_", "!!!"])
def test_a_bad_secret_is_refused_and_not_repeated(secret: str) -> None:
    config = {"url": "https://example.com", "secret": secret}
    raw = {"name": "w", "steps": [{"id": "a", "type": "webhook", "config": config}]}
    (problem,) = check(raw, catalog()).problems
    assert "whsec_" in problem.message
    assert problem.path == "steps.0.config.secret"
    assert secret == "whsec_" or secret not in problem.message


@pytest.mark.parametrize("code", [301, 302])
async def test_a_webhook_is_not_delivered_by_a_redirect(
    on: Bench, receiver: Receiver, code: int
) -> None:
    error = await error_of(on, "webhook", url=receiver.url(f"/status/{code}/x"))
    assert error.stable_code == "http_status"


# --- script ------------------------------------------------------------------------------------


async def test_a_script_answers_what_it_writes(on: Bench) -> None:
    source = "import os, sys\nprint(sys.argv[1], os.environ['A'], os.environ[sys.argv[2]])"
    answer = await on.run(
        "script",
        {
            "language": "python",
            "source": source,
            "args": ["one", "SIGNALBOX_IDEMPOTENCY_KEY"],
            "env": {"A": "b c"},
        },
    )
    assert answer == Done(output={"exit_code": 0, "stdout": f"one b c {KEY}\n", "stderr": ""})


async def test_a_script_that_fails_says_how(on: Bench) -> None:
    source = "echo out; echo 'it broke' >&2; exit 7"
    error = await error_of(on, "script", language="shell", source=source)
    assert (error.stable_code, error.retryable) == ("script_failed", True)
    assert error.message == "The script ended with 7: it broke"


async def test_a_script_has_its_time(on: Bench) -> None:
    with pytest.raises(StepError) as caught:
        await on.run("script", {"language": "shell", "source": "sleep 60"}, timeout=0.5)
    assert caught.value.stable_code == "script_timeout"
