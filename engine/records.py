"""The fields of records: what a type says of them, and whether a record keeps to it.

A type lists its fields as `{"name", "type", "slug"?, "required"?, "options"?, …}`; a record has a
value under the slug of each. The types `Vendor` and `Service` list none and take any field.
Source: contracts §2.2.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

from pydantic import JsonValue

from engine.errors import Problem
from engine.expressions.values import is_number
from engine.outcomes import Artifact

#: Types that every organisation has, with their plurals.
BUILTIN = {"Vendor": "Vendors", "Service": "Services"}
#: Names of what else events are published about, which no type may have.
RESERVED = frozenset({"Assessment"})
#: What happens to a record, as the second half of an event's name.
CREATED, UPDATED, DELETED = "Created", "Updated", "Deleted"
LIVES = (CREATED, UPDATED, DELETED)

#: What stands before the hex digits of an id where users see it; contracts §1.1.3.
PREFIXES = {"Vendor": "cbvndr_", "Service": "cbsvc_", "Assessment": "cbqsrw_"}

MOST_FIELDS = 200
MOST_OPTIONS = 1_000
#: Characters of a key in the fields of a record.
LONGEST_KEY = 100
#: What the name of an event from outside is made of: no blanks, no control characters.
EVENT_NAME = r"^[^\x00-\x20\x7f]+$"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,99}")
_SLUG = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
#: One way to match each character: a text of a megabyte must not stall whoever looks at it.
_URL = re.compile(r"https?://[^\s/?#]\S*")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")


def event_name(type_name: str, life: str) -> str:
    """The name of an event in the life of a record, as in `Vendor.Created`."""
    return f"{type_name}.{life}"


def require_event_name(event: str) -> str:
    """The name, which an event may have; only the type of a record may bring blanks into it.

    >>> require_event_name("Purchase order.Created")
    'Purchase order.Created'

    Raises:
        ValueError: No event ever has this name.
    """
    type_name, _, life = event.rpartition(".")
    of_a_record = life in LIVES and is_type_name(type_name)
    if not (of_a_record or re.fullmatch(EVENT_NAME, event)):
        raise ValueError("the name of an event has no blanks, save for that of a record's type")
    return event


def is_type_name(name: str) -> bool:
    """Whether a type may have this name: events are named after it, and it stands for its id."""
    return bool(_NAME.fullmatch(name)) and not _HEX_ID.fullmatch(name) and name not in RESERVED


def slug_of(name: str) -> str:
    """The key that stands for a name in records.

    >>> slug_of("riskTier"), slug_of("Annual spend (EUR)")
    ('riskTier', 'annual_spend_eur')
    """
    if _SLUG.fullmatch(name):
        return name
    text = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:LONGEST_KEY]
    return text if _SLUG.fullmatch(text) else f"field_{text}".rstrip("_")[:LONGEST_KEY]


def spelled_id(type_name: str, id: str) -> str:
    """The id of a record as users see it: with a prefix where its type has one."""
    return f"{PREFIXES.get(type_name, '')}{id}"


def bare_id(type_name: str, written: str) -> str | None:
    """The hex digits of an id, written with the prefix of its type or without; None for others."""
    digits = written.removeprefix(PREFIXES.get(type_name, ""))
    return digits if _HEX_ID.fullmatch(digits) else None


def artifact_of(type_name: str, id: str, role: Literal["trigger", "result"]) -> Artifact:
    """A record as an artifact of a step; its type is written in lower case."""
    word = re.sub(r"[^a-z0-9]+", "_", type_name.lower())
    return Artifact(artifact_type=word, id=spelled_id(type_name, id), role=role)


# --- what a type says -----------------------------------------------------------------------------


def type_problems(fields: Sequence[Mapping[str, JsonValue]]) -> list[Problem]:
    """Everything that is wrong with the fields of a type; paths begin with `fields`."""
    if len(fields) > MOST_FIELDS:
        return [Problem(f"A type has at most {MOST_FIELDS} fields.", path="fields")]
    found: list[Problem] = []
    slugs: set[str] = set()
    for index, field in enumerate(fields):
        found += (
            Problem(f"fields.{index}.{key}: {text}", path=f"fields.{index}.{key}")
            for key, text in _field_problems(field)
        )
        slug = slug_in(field)
        if slug in slugs:
            message = f"fields.{index}: another field has the slug '{slug}'"
            found.append(Problem(message, path=f"fields.{index}"))
        slugs.add(slug)
    return found


def slug_in(field: Mapping[str, JsonValue]) -> str:
    """The slug of a field: its own, or one made of its name."""
    return str(field.get("slug") or slug_of(str(field.get("name") or "")))


def _field_problems(field: Mapping[str, JsonValue]) -> Iterator[tuple[str, str]]:
    name = field.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_KEY or "\0" in name:
        yield "name", f"must be a text of 1 to {LONGEST_KEY} characters"
    slug = field.get("slug")
    if slug is not None and not (isinstance(slug, str) and _SLUG.fullmatch(slug)):
        yield "slug", "must be letters, digits and underscores, and begin with no digit"
    sort = field.get("type")
    if not isinstance(sort, str) or sort not in _TYPES:
        yield "type", f"must be one of {', '.join(_TYPES)}"
    if not isinstance(field.get("required", False), bool):
        yield "required", "must be true or false"
    options = field.get("options")
    if options is not None and _options(field) is None:
        yield "options", f"must list texts or {{'value', 'label'?}}, at most {MOST_OPTIONS}"


def _options(field: Mapping[str, JsonValue]) -> list[str] | None:
    """The values that a field may have; None when it names none, or not in a readable way."""
    listed = field.get("options")
    if not isinstance(listed, list) or len(listed) > MOST_OPTIONS:
        return None
    values = [one.get("value") if isinstance(one, dict) else one for one in listed]
    texts = [one for one in values if isinstance(one, str)]
    return texts if len(texts) == len(values) else None


# --- whether a record keeps to it ---------------------------------------------------------------


def record_problems(
    definitions: Sequence[Mapping[str, Any]] | None, fields: Mapping[str, JsonValue]
) -> list[Problem]:
    """What is wrong with the fields of a record; paths begin with `fields`, values are not quoted.

    Args:
        definitions: the fields of its type; None for a type that takes any.
        fields: by slug. What is null is not there.
    """
    return [
        Problem(f"fields.{key[:LONGEST_KEY]}: {text}", path=f"fields.{key[:LONGEST_KEY]}")
        for key, text in _record_problems(definitions, fields)
    ]


def _record_problems(
    definitions: Sequence[Mapping[str, Any]] | None, fields: Mapping[str, JsonValue]
) -> Iterator[tuple[str, str]]:
    yield from ((key, "it has a NUL character") for key in fields if _has_nul([key, fields[key]]))
    if definitions is None:
        for key in fields:
            if not 1 <= len(key) <= LONGEST_KEY:
                yield key, f"a key has 1 to {LONGEST_KEY} characters"
        return
    known = {slug_in(field): field for field in definitions}
    for key in fields:
        if key not in known:
            yield key, "the type has no such field"
    for key, field in known.items():
        value = fields.get(key)
        if value is None:
            if field.get("required"):
                yield key, "is required"
        elif text := _TYPES[str(field["type"])](value, field):
            yield key, text


def _has_nul(value: JsonValue) -> bool:
    """Whether a text in the value, keys included, has what CSV and text of PostgreSQL cannot."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _has_nul(one) for key, one in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


#: What is wrong with a value, or None.
Check = Callable[[JsonValue, Mapping[str, Any]], str | None]


def _text(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    return None if isinstance(value, str) else "must be a text"


def _number(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    return None if is_number(value) else "must be a number"


def _boolean(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _any(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    return None


def _date(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    try:
        date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return "must be a date, as in 2026-06-30"
    return None


def _datetime(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    try:
        datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return "must be a date and a time of ISO 8601"
    return None


def _select(value: JsonValue, field: Mapping[str, Any]) -> str | None:
    options = _options(field)
    if not isinstance(value, str):
        return "must be a text"
    return None if options is None or value in options else "is none of the options"


def _multi_select(value: JsonValue, field: Mapping[str, Any]) -> str | None:
    if not isinstance(value, list):
        return "must be a list of texts"
    return next((text for one in value if (text := _select(one, field))), None)


def is_url(value: JsonValue) -> bool:
    """Whether it is an http or https URL with a host, and without blanks."""
    return isinstance(value, str) and bool(_URL.fullmatch(value))


def is_email(value: JsonValue) -> bool:
    """Whether it is an e-mail address: one `@` with something on both sides, and no blanks."""
    return isinstance(value, str) and bool(_EMAIL.fullmatch(value))


def _saying(words: str, test: Callable[[JsonValue], bool]) -> Check:
    def check(value: JsonValue, _: Mapping[str, Any]) -> str | None:
        return None if test(value) else words

    return check


def _relation(value: JsonValue, _: Mapping[str, Any]) -> str | None:
    ids = value if isinstance(value, list) else [value]
    return None if all(isinstance(one, str) for one in ids) else "must be an id or a list of ids"


_TYPES: dict[str, Check] = {
    "text": _text,
    "richText": _text,
    "longText": _text,
    "number": _number,
    "date": _date,
    "datetime": _datetime,
    "select": _select,
    "multiSelect": _multi_select,
    "boolean": _boolean,
    "url": _saying("must be an http or https URL", is_url),
    "email": _saying("must be an e-mail address", is_email),
    "image": _text,
    "file": _text,
    "relation": _relation,
    "reference": _relation,
    "json": _any,
    "aiGenerated": _text,
    "formula": _any,
}


# --- what a table of texts says -----------------------------------------------------------------


def from_cell(field: Mapping[str, Any] | None, cell: str) -> JsonValue:
    """The value that a cell of a CSV file stands for; what does not fit its field stays a text.

    Args:
        field: the field of the type that the column is named after; None where it takes any.
        cell: its text; empty for no value.
    """
    if cell == "":
        return None
    match field["type"] if field else None:
        case "number":
            return _number_in(cell)
        case "boolean":
            return {"true": True, "false": False}.get(cell.strip().lower(), cell)
        case "multiSelect":
            return [part for part in map(str.strip, cell.split(";")) if part]
        case _:
            return cell


def _number_in(cell: str) -> JsonValue:
    text = cell.strip()
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?\d{1,30}(\.\d{1,30})?", text) else cell
