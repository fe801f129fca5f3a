"""What a step was told is found in whatever it records, however it is spelt."""

import base64
import json
from collections.abc import Collection
from typing import cast
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import JsonValue

from activities.redaction import SHORTEST, Redactor
from activities.secrets import Disclosed, Vault
from engine.outcomes import Done, EntityChange

TOKEN = 'tök/en+"7f\n3&= a'
characters = st.characters(exclude_categories=["Cs"])
values = st.text(characters, min_size=SHORTEST, max_size=40)
texts = st.text(characters, max_size=40)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
SPELLINGS = [
    lambda text: text,
    str.upper,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="").lower(),
    quote_plus,
    lambda text: urlencode({"q": text}).removeprefix("q="),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
]


@pytest.mark.parametrize("spell", SPELLINGS)
def test_every_spelling_is_replaced(spell: object) -> None:
    assert callable(spell)
    redactor = Redactor({"TOKEN": TOKEN})
    assert redactor.text(f"<{spell(TOKEN)}>") == "<[secret TOKEN]>"


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz"])
def test_base64_is_found_wherever_the_value_stands_in_it(before: str, after: str) -> None:
    value = "correct horse battery"
    encoded = base64.b64encode(f"{before}{value}{after}".encode()).decode()
    found = Redactor({"P": value}).text(f"Basic {encoded}")
    assert "[secret P]" in found
    # No more than what the neighbours share with it is left at either end.
    left = found.removeprefix("Basic ").replace("[secret P]", "")
    assert len(left) <= len(base64.b64encode(f"{before}{after}".encode())) + 4


@given(values, texts, texts)
def test_a_value_is_gone_whatever_stands_around_it(value: str, before: str, after: str) -> None:
    assume(value.lower() not in "[secret v]")
    for spell in (*SPELLINGS[:1], *SPELLINGS[2:]):
        assert callable(spell)
        text = before + spell(value) + after
        found = Redactor({"V": value}).text(text)
        assert value not in found
        assert "[secret V]" in found


@given(st.lists(values, min_size=2, max_size=4), texts)
def test_of_several_none_is_left(several: list[str], between: str) -> None:
    assume(not any(value.lower() in f"[secret s{n}]" for value in several for n in range(4)))
    redactor = Redactor({f"S{n}": value for n, value in enumerate(several)})
    found = redactor.text(between.join(["", *several, ""]))
    parts = found.split("[secret S")
    assert len(parts) > 1
    assert not any(value in part for value in several for part in parts)


@given(values, documents)
def test_documents_keep_their_shape(value: str, document: JsonValue) -> None:
    """Nothing but the value is touched, and it is found at any depth and in keys."""
    assume(value.lower() not in "[secret v]" and value not in json.dumps(document))
    assume(not value.strip().lstrip("-").isdigit() and value.strip() != "")
    redactor = Redactor({"V": value})
    assume(redactor.value(document) == document)
    hidden: JsonValue = {"a": [document, f"-{value}-"], f"k{value}": {"deep": [value]}}
    assert redactor.value(hidden) == {
        "a": [document, "-[secret V]-"],
        "k[secret V]": {"deep": ["[secret V]"]},
    }


@given(values.filter(lambda value: value.strip() == value), texts, st.data())
def test_a_text_that_was_cut_keeps_no_beginning(
    value: str, before: str, data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, len(value) - 1))
    redactor, text = Redactor({"V": value}), before + value[:length]
    assume(redactor.text(text) == text)
    # Nothing is left of the value; what looks like its beginning before it may go as well.
    assert before.startswith(redactor.cut(text))


def test_a_value_that_is_cut_in_the_middle_of_a_character() -> None:
    cut = "x=geheim-ö".encode()[:-1].decode(errors="replace")
    assert Redactor({"V": "geheim-ö-geheim"}).cut(cut) == "x="


def test_a_number_that_is_the_value_becomes_text() -> None:
    redactor = Redactor({"PIN": "48151623"})
    found = redactor.value({"pin": 48151623, "other": 481516, "yes": True})
    assert found == {"pin": "[secret PIN]", "other": 481516, "yes": True}


def test_lines_of_a_key_are_found_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkqhkiG\nw0BAQEFAASCAUAwggE8\n-----END KEY-----\n"
    redactor = Redactor({"KEY": key})
    for line in key.splitlines():
        assert redactor.text(f"log: {line}") == "log: [secret KEY]"
    assert redactor.text(key.strip()) == "[secret KEY]"
    assert redactor.text(key.replace("\n", "\r\n")).count("[secret KEY]") == 4


def test_short_values_are_left_alone() -> None:
    assert Redactor({"S": "abc"}).text("abc YWJj") == "abc YWJj"
    assert Redactor({}).value({"a": [1, "b"]}) == {"a": [1, "b"]}


def test_what_is_longer_in_lower_case_does_not_shift_what_is_found() -> None:
    assert Redactor({"S": "geheim"}).text("İİİ geheim İ GEHEIM") == "İİİ [secret S] İ [secret S]"


def test_a_text_that_is_full_of_it_is_not_kept() -> None:
    redactor = Redactor({"S": "aaaa"})
    assert redactor.text("aaaa" * 100) == "[secret S]" * 100
    assert redactor.text("aaaa" * 1_000_000) == "[secret S]"


class Open:
    """A vault that tells what it is asked for."""

    async def resolve(self, _org: str, names: Collection[str]) -> dict[str, str]:
        return dict.fromkeys(names, TOKEN)


async def test_what_becomes_of_an_entity_is_recorded_without_them() -> None:
    told = Disclosed(cast(Vault, Open()), "org")
    await told.resolve("TOKEN")
    change = EntityChange(fields={TOKEN: 1, "said": [f"it is {TOKEN}"]}, published=True)
    found = await told.outcome(Done(output={"of": TOKEN}, entity=change))
    assert found == Done(
        output={"of": "[secret TOKEN]"},
        entity=EntityChange(
            fields={"[secret TOKEN]": 1, "said": ["it is [secret TOKEN]"]}, published=True
        ),
    )
