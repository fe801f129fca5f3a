"""Configurations in a batch: keys that a step type does not know are kept, and change nothing."""

from engine.lifecycle import RunStatus
from tests.house import House
from tests.workflow.batching import started


async def test_unknown_keys_do_not_fail_an_entity(house: House) -> None:
    batch = await started(
        house,
        [{"title": "One"}, {"title": "Two"}],
        {
            "id": "check",
            "type": "validate",
            "config": {
                "rules": [{"field": "title", "rule": "required", "ticket": "T-1"}],
                "layout": {"x": 1},
            },
        },
        {
            "id": "made",
            "type": "transform",
            "config": {"output": "{{ entity.fields.title }}", "note": "{{ entity.fields.gone }}"},
        },
    )
    assert (await batch.until()).status is RunStatus.COMPLETED
    assert [lane.output for lane in await batch.lanes()] == ["One", "Two"]
