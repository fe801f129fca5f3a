"""What a step may put on the wire: URL, method and headers, checked before a byte is sent.

The library below would accept a `Host` of the user's, or `Content-Length` together with
`Transfer-Encoding`, and so let a definition smuggle a second request. No message here repeats a
header's value or more of a URL than its host: they end up in rows, events and logs.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import httpcore2
import httpx2

Scalar = str | int | float | bool
Params = Mapping[str, Scalar | Sequence[Scalar]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_MAX_URL = 8192
_MAX_HEADERS = 64 * 1024
#: Framing and connection headers are the door's own.
_FORBIDDEN = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_FORBIDDEN_PREFIX = "proxy-"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_NOT_IN_A_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
#: Control characters and backslash: where two parsers of URLs disagree about the host.
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_AUTHORITY = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_IPV6 = re.compile(r"[0-9a-f:.]+")

#: Sent unless the step says otherwise. `identity`: what is not compressed is not a bomb.
_DEFAULTS = {
    "accept": b"*/*",
    "accept-encoding": b"identity",
    "user-agent": b"signalbox",
}


def read_url(text: str, params: Params | None) -> httpx2.URL:
    """Parse a URL, with query parameters appended to those it has.

    Args:
        text: An absolute http or https URL; a fragment is dropped.
        params: Names to a value or a list of values; booleans are spelled `true` and `false`.

    Returns:
        The URL, its host in ASCII.

    Raises:
        ValueError: It is not one that may be requested; the message says why.
    """
    text = text.partition("#")[0]
    if params:
        text += ("&" if "?" in text else "?") + _query(params)
    if len(text) > _MAX_URL:
        raise ValueError(f"the URL has {len(text)} characters, the limit is {_MAX_URL}")
    if _NOT_IN_A_URL.search(text):
        raise ValueError("the URL contains a blank, a backslash or a control character")
    authority = _AUTHORITY.match(text)
    if authority is None:
        raise ValueError("the URL must begin with http:// or https:// and a host")
    if "@" in authority[1]:
        raise ValueError("the URL contains credentials; use a header")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError):
        # The parser's own message may quote more than the host.
        raise ValueError("the URL cannot be parsed") from None
    host = url.raw_host.decode("ascii")
    pattern = _IPV6 if ":" in host else _HOST
    if len(host) > 253 or not pattern.fullmatch(host):
        raise ValueError("the URL's host is not a valid name or address")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise ValueError("the URL's port is not between 1 and 65535")
    return url


def _query(params: Params) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        many = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
        pairs += [(name, str(one).lower() if isinstance(one, bool) else str(one)) for one in many]
    try:
        return urlencode(pairs, quote_via=quote)
    except UnicodeEncodeError:
        raise ValueError("a query parameter is not valid Unicode") from None


def read_headers(headers: Mapping[str, str] | None) -> dict[str, bytes]:
    """Check a step's headers and complete them with the defaults.

    Args:
        headers: Names, in any case, to values.

    Returns:
        Lower-case names to the bytes to send.

    Raises:
        ValueError: A header is malformed, given twice, or not the step's to set.
    """
    checked: dict[str, bytes] = {}
    size = 0
    for name, value in (headers or {}).items():
        if not _NAME.fullmatch(name):
            raise ValueError("a header's name is empty or contains a character that is not allowed")
        key = name.lower()
        if key in _FORBIDDEN or key.startswith(_FORBIDDEN_PREFIX):
            raise ValueError(f"the header {name!r} is set by the connection and may not be given")
        if key in checked:
            raise ValueError(f"the header {name!r} is given twice")
        if _NOT_IN_A_VALUE.search(value):
            raise ValueError(
                f"the value of the header {name!r} has a character that is not allowed"
            )
        checked[key] = value.strip(" \t").encode("latin-1")
        size += len(name) + len(value)
    if size > _MAX_HEADERS:
        raise ValueError(f"the headers have {size} bytes, the limit is {_MAX_HEADERS}")
    return _DEFAULTS | checked


def build(
    method: str, url: httpx2.URL, headers: Mapping[str, bytes], content: bytes | None
) -> httpcore2.Request:
    """Put a request together, with the framing that belongs to its content.

    Args:
        method: One of `METHODS`.
        url: From `read_url`.
        headers: From `read_headers`.
        content: The body; None is sent without one.

    Raises:
        ValueError: The method is not one of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"the method must be one of {', '.join(sorted(METHODS))}")
    wire = [(b"Host", url.netloc), *((k.encode("ascii"), v) for k, v in headers.items())]
    if content is not None or method in ("POST", "PUT", "PATCH"):
        wire.append((b"Content-Length", b"%d" % len(content or b"")))
    return httpcore2.Request(
        method,
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=wire,
        content=content,
    )
