"""Text into tokens: CEL's lexical rules, without bytes, unsigned numbers and comments."""

import re
from dataclasses import dataclass
from typing import Literal

from engine.expressions.errors import ExpressionError

Kind = Literal["name", "int", "float", "text", "symbol", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: what it is; `end` comes once, last.
        text: the source, or for `text` the value with its escapes resolved.
        at: index of its first character in the expression.
    """

    kind: Kind
    text: str
    at: int


_SPACE = re.compile(r"[ \t\r\n\f]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FLOAT = re.compile(r"[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+")
_INT = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
_SYMBOLS = ("==", "!=", "<=", ">=", "&&", "||", *"()[]{}.,:?!<>+-*/%")
_ESCAPES = dict(
    zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True),
)
_CODED = {"x": 2, "X": 2, "u": 4, "U": 8}  # letter -> hexadecimal digits
_OCTAL = re.compile(r"[0-3][0-7]{2}")


def text_end(source: str, quote_at: int, raw: bool) -> int:
    """The index after the text literal whose opening quote is at `quote_at`; -1 if it is open.

    Shared with the template scanner, so that both agree on where a literal ends.
    """
    quote = source[quote_at]
    mark = quote * 3 if source.startswith(quote * 3, quote_at) else quote
    at = quote_at + len(mark)
    while at < len(source):
        if source[at] == "\\" and not raw:
            at += 2
        elif source.startswith(mark, at):
            return at + len(mark)
        else:
            at += 1
    return -1


def tokens(source: str) -> list[Token]:
    """All tokens of an expression, `end` last.

    Raises:
        ExpressionError: a character or a literal that the language does not have.
    """
    found: list[Token] = []
    at = 0
    while at < len(source):
        if space := _SPACE.match(source, at):
            at = space.end()
            continue
        token, at = _next(source, at)
        found.append(token)
    found.append(Token("end", "", len(source)))
    return found


def _next(source: str, at: int) -> tuple[Token, int]:
    if source[at] in "\"'" or (source[at] in "rR" and source[at + 1 : at + 2] in ("'", '"')):
        return _text(source, at)
    if name := _NAME.match(source, at):
        if name[0] in ("b", "B", "br", "rb") and source[name.end() : name.end() + 1] in ("'", '"'):
            raise ExpressionError(f"bytes at character {at + 1} are not supported; write a text")
        return Token("name", name[0], at), name.end()
    number = _FLOAT.match(source, at) or _INT.match(source, at)
    if number:
        kind: Kind = "float" if number.re is _FLOAT else "int"
        following = _NAME.match(source, number.end())
        if following:
            raise ExpressionError(f"`{number[0]}{following[0]}` is not a number")
        return Token(kind, number[0], at), number.end()
    for symbol in _SYMBOLS:
        if source.startswith(symbol, at):
            if symbol == "/" and source.startswith("//", at):
                raise ExpressionError(f"a comment at character {at + 1} is not supported")
            return Token("symbol", symbol, at), at + len(symbol)
    raise ExpressionError(f"unexpected {source[at]!r} at character {at + 1}")


def _text(source: str, at: int) -> tuple[Token, int]:
    raw = source[at] in "rR"
    quote_at = at + raw
    end = text_end(source, quote_at, raw)
    if end < 0:
        raise ExpressionError(f"the text that begins at character {at + 1} is not closed")
    width = 3 if source.startswith(source[quote_at] * 3, quote_at) else 1
    body = source[quote_at + width : end - width]
    if width == 1 and ("\n" in body or "\r" in body):
        raise ExpressionError(f"the text at character {at + 1} runs over a line; use three quotes")
    return Token("text", body if raw else _unescape(body), at), end


def _unescape(body: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(body):
        if body[at] != "\\":
            parts.append(body[at])
            at += 1
            continue
        letter = body[at + 1]
        if letter in _ESCAPES:
            parts.append(_ESCAPES[letter])
            at += 2
        else:
            digits = _CODED.get(letter, 3)
            start = at + 2 if letter in _CODED else at + 1
            parts.append(_character(body[start : start + digits], digits, letter in _CODED))
            at = start + digits
    return "".join(parts)


def _character(code: str, digits: int, hexadecimal: bool) -> str:
    shape = re.compile(rf"[0-9a-fA-F]{{{digits}}}") if hexadecimal else _OCTAL
    if not shape.fullmatch(code):
        raise ExpressionError("a text holds an unknown escape; write `\\\\` for a backslash")
    number = int(code, 16 if hexadecimal else 8)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ExpressionError("a text holds an escape that is not a character")
    return chr(number)
