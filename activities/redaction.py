"""Takes secrets out of what a step is about to record.

A service may answer with what it was sent, a tool may print its environment. So whatever a step
that was told secrets records goes through here, and every spelling of a value is replaced by
`[secret NAME]`: as it is, trimmed, line by line, in base64 wherever it stands in it, URL-encoded
and escaped as in JSON, all of them in upper and lower case. What a service has hashed, encrypted,
cut into pieces or spelt in a way of its own is not found.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from urllib.parse import quote, quote_plus

from pydantic import JsonValue

#: Characters. Shorter values are not looked for: they would be found everywhere.
SHORTEST = 4
#: Lines of a value that are looked for one by one, and the characters of the shortest of them.
_LINES, _LINE = 200, 8
#: Places in one text; where there are more, nothing of the text is kept.
_PLACES = 100_000
_URL_SAFE = str.maketrans("+/", "-_")


class Redactor:
    """Knows every spelling of some values, by the names of the secrets."""

    def __init__(self, values: Mapping[str, str]) -> None:
        #: Each spelling in lower case, and the secret that it is of.
        self._names: dict[str, str] = {}
        for name, value in values.items():
            if len(value) >= SHORTEST:
                for spelling in _spellings(value):
                    if len(spelling) >= SHORTEST:
                        self._names.setdefault(_lower(spelling), name)
        self._shortest = min(map(len, self._names), default=0)

    def text(self, text: str) -> str:
        """The text without the values."""
        if len(text) < self._shortest:
            return text
        lower = _lower(text)
        # Mostly there is none, and most texts are short: this is what is to be fast.
        present = [spelling for spelling in self._names if spelling in lower]
        if not present:
            return text
        places = (
            (start, start + len(spelling), self._names[spelling])
            for spelling in present
            for start in _starts(lower, spelling, len(spelling))
        )
        found = sorted(islice(places, _PLACES + 1))
        if len(found) > _PLACES:
            return _mark(found[0][2])
        kept, at = [], 0
        for start, end, name in found:
            if start >= at:
                kept += [text[at:start], _mark(name)]
            # One that overlaps the one before goes with it.
            at = max(at, end)
        return "".join([*kept, text[at:]])

    def cut(self, text: str) -> str:
        """A text that was cut off, without the values and without the beginning of one at its end.

        Whoever cuts a text has to ask here first: half of a value is not found any more.
        """
        # Half of a character was replaced by this one.
        text = self.text(text.rstrip("\ufffd"))
        lower = _lower(text)
        begun = max((_begun(lower, spelling) for spelling in self._names), default=0)
        return text[: len(text) - begun]

    def value(self, value: JsonValue) -> JsonValue:
        """The value without them, keys of objects included; a number that is one becomes text."""
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.value(item) for item in value]
            case dict():
                return {self.text(key): self.value(item) for key, item in value.items()}
            case int() | float() if not isinstance(value, bool):
                name = self._names.get(str(value))
                return value if name is None else _mark(name)
        return value


def _mark(name: str) -> str:
    return f"[secret {name}]"


def _lower(text: str) -> str:
    """The text in lower case, character for character."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := one.lower()) == 1 else one for one in text)


def _starts(text: str, part: str, apart: int = 1) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + apart)


def _begun(text: str, part: str) -> int:
    """How many characters at the end of a text are the beginning of a part."""
    tail = text[-(len(part) - 1) :]
    return next(
        (len(tail) - at for at in _starts(tail, part[0]) if part.startswith(tail[at:])),
        0,
    )


def _spellings(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.splitlines()[:_LINES]]
    yield from (line for line in lines if len(line) >= _LINE)
    for text in {value, value.strip()}:
        yield text
        for ascii_only in (True, False):
            escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield escaped
            yield escaped.replace("/", "\\/")
        yield quote(text, safe="")
        yield quote(text)
        yield quote_plus(text)
        for encoded in _base64(text.encode()):
            yield encoded
            yield encoded.translate(_URL_SAFE)


def _base64(content: bytes) -> Iterator[str]:
    """As it is written by itself, and the part that is the same wherever it stands in a text."""
    yield base64.b64encode(content).decode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content).decode()
        # The characters at either end are shared with the neighbours.
        start = (0, 2, 3)[before]
        end = (0, 3, 2)[(before + len(content)) % 3]
        yield encoded[start : len(encoded) - end]
