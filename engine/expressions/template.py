"""Finding `{{ … }}` in a text: a scanner that knows text literals and braces, not a pattern.

`{{ {'a': {'b': 1}} }}` and `{{ '}}' }}` are one placeholder each. `}}` outside of a placeholder is
plain text; a literal `{{` is written `{{ '{{' }}`.
"""

import functools
from dataclasses import dataclass

from engine.expressions.errors import ExpressionError
from engine.expressions.lexer import text_end


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The expression of one `{{ … }}`, without the braces and the space inside them."""

    source: str


_CACHED_LENGTH = 4096  # characters; longer texts are mostly prose and would fill the memory


def pieces(text: str) -> tuple[str | Placeholder, ...]:
    """A text as plain parts and placeholders, in order; no plain part is empty.

    Raises:
        ExpressionError: a placeholder is not closed or is empty.
    """
    return _cached_pieces(text) if len(text) <= _CACHED_LENGTH else _pieces(text)


def _pieces(text: str) -> tuple[str | Placeholder, ...]:
    found: list[str | Placeholder] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        if start > at:
            found.append(text[at:start])
        end = _placeholder_end(text, start + 2)
        source = text[start + 2 : end].strip()
        if not source:
            raise ExpressionError("`{{ }}` is empty")
        found.append(Placeholder(source))
        at = end + 2
    if at < len(text):
        found.append(text[at:])
    return tuple(found)


_cached_pieces = functools.lru_cache(maxsize=1024)(_pieces)


def sole(text: str) -> Placeholder | None:
    """The placeholder that is all of the text but for space around it; its value keeps its type."""
    found = pieces(text)
    placeholders = [piece for piece in found if isinstance(piece, Placeholder)]
    plain = "".join(piece for piece in found if isinstance(piece, str))
    return placeholders[0] if len(placeholders) == 1 and not plain.strip() else None


def unwrapped(expression: str) -> str:
    """An expression without the `{{ }}` that may stand around it."""
    if not expression.lstrip().startswith("{{"):
        return expression.strip()
    placeholder = sole(expression)
    if placeholder is None:
        raise ExpressionError("this must be one expression, not text with placeholders", expression)
    return placeholder.source


def _placeholder_end(text: str, at: int) -> int:
    """Where the `}}` that closes the placeholder begins."""
    start, depth = at, 0
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = text_end(text, at, _is_raw(text, at, start))
            if at < 0:
                break
            continue
        if character == "}" and depth == 0 and text.startswith("}}", at):
            return at
        depth += (character == "{") - (character == "}")
        at += 1
    raise ExpressionError("a placeholder is not closed", text[start - 2 :])


def _is_raw(text: str, quote_at: int, start: int) -> bool:
    """Whether `r` stands before the quote, as a prefix and not as the end of a name."""
    if quote_at == start or text[quote_at - 1] not in "rR":
        return False
    before = text[quote_at - 2] if quote_at - 1 > start else " "
    return not (before.isalnum() or before == "_")
