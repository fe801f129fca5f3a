"""Sealing: what is sealed opens in its place, under its key, and nowhere else."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.sealing import Keyring, Sealed, UnopenableError, key_id

ONE, TWO = os.urandom(32), os.urandom(32)
RING = Keyring([ONE])


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text("abc/", max_size=20))
def test_what_is_sealed_is_opened(text: str, bound: str) -> None:
    sealed = RING.seal(text, bound)
    assert RING.open(sealed, bound) == text
    assert sealed.key_id == RING.sealing == key_id(ONE)
    assert text.encode() not in sealed.content or len(text) < 4


def test_it_opens_in_its_place_only() -> None:
    sealed = RING.seal("value", "org/a")
    for bound in ("org/b", "other/a", ""):
        with pytest.raises(UnopenableError):
            RING.open(sealed, bound)


@pytest.mark.parametrize("at", [0, 11, 12, -1])
def test_it_does_not_open_when_a_bit_was_changed(at: int) -> None:
    sealed = RING.seal("value", "a")
    content = bytearray(sealed.content)
    content[at] ^= 1
    with pytest.raises(UnopenableError):
        RING.open(Sealed(bytes(content), sealed.key_id), "a")


@pytest.mark.parametrize("content", [b"", b"short", bytes(12), bytes(27)])
def test_it_does_not_open_when_it_was_cut(content: bytes) -> None:
    with pytest.raises(UnopenableError):
        RING.open(Sealed(content, RING.sealing), "a")


def test_no_two_sealings_are_alike() -> None:
    assert len({RING.seal("value", "a").content for _ in range(100)}) == 100


def test_the_first_key_seals_and_all_open() -> None:
    both = Keyring([TWO, ONE])
    old, new = RING.seal("value", "a"), both.seal("value", "a")
    assert (old.key_id, new.key_id) == (key_id(ONE), key_id(TWO))
    assert both.open(old, "a") == both.open(new, "a") == "value"
    with pytest.raises(UnopenableError):
        RING.open(new, "a")


def test_a_setting_is_hex_or_base64() -> None:
    written = [
        ONE.hex(),
        ONE.hex().upper(),
        base64.b64encode(ONE).decode(),
        base64.urlsafe_b64encode(ONE).decode(),
        base64.b64encode(ONE).decode().rstrip("="),
        f" {ONE.hex()} , {TWO.hex()} ",
    ]
    assert {Keyring.parse(text).sealing for text in written} == {key_id(ONE)}
    assert Keyring.parse(written[-1]).open(Keyring([TWO]).seal("v", "a"), "a") == "v"
    assert not Keyring.parse("")
    assert not Keyring.parse("  ")


@pytest.mark.parametrize(
    "text", ["correct horse battery staple", "ab" * 31, "ab" * 33, "é" * 32, f"{'ab' * 32},", ",,,"]
)
def test_anything_else_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="32 random bytes") as caught:
        Keyring.parse(text)
    assert text not in str(caught.value)


def test_an_empty_ring_does_nothing() -> None:
    with pytest.raises(UnopenableError):
        Keyring().seal("value", "a")
    with pytest.raises(UnopenableError):
        Keyring().open(RING.seal("value", "a"), "a")


def test_keys_are_not_shown() -> None:
    shown = repr(RING) + str(vars(RING))
    assert ONE.hex() not in shown
    assert repr(ONE) not in shown
