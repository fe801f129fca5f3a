"""JSON as it is kept, ids, and roles."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from engine.errors import Invalid
from engine.roles import Role
from store.clock import now
from store.ids import new_id
from store.values import decode, decode_object, decode_strings, encode

TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(JSON)
def test_a_value_reads_back(value: JsonValue) -> None:
    text = encode(value)
    text.encode()
    assert decode(text) == value
    assert decode(encode(value, sort=True)) == value


def test_text_is_compact_and_keeps_the_order() -> None:
    value: JsonValue = {"b": ["é", 1.5], "a": {"d": None, "c": True}}
    assert encode(value) == '{"b":["é",1.5],"a":{"d":null,"c":true}}'
    assert encode(value, sort=True) == '{"a":{"c":true,"d":null},"b":["é",1.5]}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_word_for_is_refused(number: float) -> None:
    with pytest.raises(Invalid):
        encode({"deep": [number]})


def test_rows_that_this_room_did_not_write_are_noticed() -> None:
    with pytest.raises(TypeError):
        decode_object("[]")
    with pytest.raises(TypeError):
        decode_strings('["a",1]')


def test_ids_are_uuids_that_ascend() -> None:
    made = [new_id() for _ in range(2000)]
    assert len({*made}) == 2000
    assert all(re.fullmatch("[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", one) for one in made)
    assert [one[:16] for one in made] == sorted(one[:16] for one in made)
    assert abs(int(made[0][:12], 16) - time.time() * 1000) < 60_000
    assert abs(now() - time.time() * 1_000_000) < 60_000_000


def test_roles_are_a_ladder() -> None:
    ladder = [Role.VIEWER, Role.RUNNER, Role.OPERATOR, Role.EDITOR, Role.ADMIN]
    for i, upper in enumerate(ladder):
        assert [upper.allows(lower) for lower in ladder] == [j <= i for j in range(5)]
