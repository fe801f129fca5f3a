"""Ids that belong to something, and sort."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from store.ids import placed_id

PLACES = st.integers(0, 10_000_000)


@given(at=st.integers(0, 1 << 42), one=PLACES, other=PLACES, key=st.text())
def test_ids_ascend_with_their_places(at: int, one: int, other: int, key: str) -> None:
    assert UUID(placed_id(at, one, key)).version == 7
    assert (placed_id(at, one, key) < placed_id(at, other, "x")) or one >= other
    assert (placed_id(at, one, key) == placed_id(at, one, "x")) == (key == "x")
