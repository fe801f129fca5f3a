"""Batches when something goes wrong below their lanes: nothing hangs, and no effect is repeated."""

from typing import Any

import pytest

from store import lanes
from tests.house import House
from tests.workflow.batching import started
from tests.workflow.test_batches import step, titled


async def test_what_cannot_be_written_is_done_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, refused = lanes.commit, list[Any]()

    def once(*args: Any) -> Any:
        if not refused:
            refused.append(args)
            raise RuntimeError("a row that the database does not take")
        return commit(*args)

    monkeypatch.setattr(lanes, "commit", once)
    batch = await started(house, titled(3), step("made", "transform", output="{{ 1 }}"))
    assert (await batch.until()).output == {"total": 3, "completed": 3, "failed": 0}
    assert refused
