"""What steps of a batch do with their entities: rewrite, stop, publish, and tell once."""

import json

from pydantic import JsonValue
from standardwebhooks import Webhook

from engine.batch import LaneStatus
from engine.bucket import bucket_of
from engine.lifecycle import RunStatus
from store import buckets
from store.batches import StepTally
from tests.house import House
from tests.receiver import Delivery, Receiver
from tests.workflow.batching import Step, started

SECRET = "whsec_" + "c2VjcmV0" * 4


def steps(receiver: Receiver) -> list[Step]:
    return [
        {
            "id": "titled",
            "type": "validate",
            "config": {"rules": [{"field": "title", "rule": "required"}]},
        },
        {
            "id": "tidy",
            "type": "transform",
            "config": {
                "transforms": [
                    {"field": "title", "transform": "trim"},
                    {"field": "title", "transform": "slugify"},
                ]
            },
        },
        {
            "id": "good",
            "type": "condition",
            "config": {"field": "rank", "operator": "gte", "value": 50},
        },
        {
            "id": "show",
            "type": "publish",
            "config": {
                "bucketId": "batch site",
                "minSeoScore": 60,
                "seoScore": "{{ entity.fields.rank }}",
            },
        },
        {
            "id": "tell",
            "type": "notify",
            "config": {"channel": "webhook", "url": receiver.url("/told")},
        },
        {
            "id": "sum",
            "type": "notify",
            "config": {"channel": "webhook", "url": receiver.url("/sum"), "once": True},
        },
    ]


async def test_entities_are_rewritten_stopped_published_and_told_of(
    house: House, receiver: Receiver
) -> None:
    await house.secret("SITE", SECRET)
    config = {"url": receiver.url("/site"), "secret": "SITE"}
    site = bucket_of("webhook", config, "config")
    await house.database.write(lambda tx: buckets.create(tx, house.org, "batch site", site))
    records: list[dict[str, JsonValue]] = [
        {"title": f"  Grüße {n}! ", "rank": n * 10} for n in range(10)
    ]
    # Half of the others are not good enough, and one of those that are scores too low.
    del records[9]["title"]
    batch = await started(house, records, *steps(receiver))
    run = await batch.until()
    assert run.status is RunStatus.COMPLETED
    row = await batch.row()
    assert row.steps["titled"] == StepTally(9, 1, 0)
    assert row.steps["tidy"] == StepTally(9, 0, 1)
    assert row.steps["good"] == StepTally(4, 0, 6)
    assert row.steps["show"] == row.steps["tell"] == StepTally(3, 0, 7)
    lanes, entities = await batch.lanes(), await batch.entities()
    for n, (lane, entity) in enumerate(zip(lanes, entities, strict=True)):
        failed = n == 9
        assert lane.status is (LaneStatus.FAILED if failed else LaneStatus.COMPLETED)
        assert entity.fields.get("title") == (None if failed else f"grusse-{n}")
        assert (entity.published_at is not None) == (6 <= n < 9)
    good = entities[6:9]
    site, told, summed = (sent_to(receiver, path) for path in ("/site", "/told", "/sum"))
    shown = [Webhook(SECRET).verify(sent.body, sent.headers) for sent in site]
    fields = {content["id"]: content["fields"] for content in shown}
    assert fields == {one.id: one.fields for one in good}
    assert len(shown) == 3
    assert len(told) == 3
    for one in good:
        assert sum(one.id.encode() in sent.body for sent in told) == 1
    (whole,) = summed
    assert "of 10 entities 9 are completed and 1 have failed" in json.loads(whole.body)["message"]


def sent_to(receiver: Receiver, path: str) -> list[Delivery]:
    return [sent for sent in receiver.deliveries if sent.path == path]
