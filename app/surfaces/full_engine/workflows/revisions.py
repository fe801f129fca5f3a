"""`ETag` and `If-Match`: who changes a workflow can say which revision of it was read.

The tag is strong: it is another one after every change of the workflow. Source: RFC 9110 §13.1.1.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header

from engine.errors import Invalid, Problem
from store.workflows import WorkflowRow

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The `ETag` of what was read; when the workflow has changed since, the answer "
        "is a 412 and nothing is changed. Without it the last writer wins.",
    ),
]

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_LIST = re.compile(rf"[ \t,]*{_TAG.pattern}([ \t]*,[ \t]*({_TAG.pattern})?)*[ \t]*")


def etag(row: WorkflowRow) -> dict[str, str]:
    """The header that names the revision of a workflow."""
    return {"ETag": f'"{row.revision}"'}


def revisions(values: Sequence[str]) -> frozenset[str] | None:
    """The revisions that the values of `If-Match` name; None when any will do.

    A weak tag matches nothing.

    Raises:
        Invalid: it is neither `*` nor a list of quoted tags.
    """
    written = ", ".join(values).strip()
    if not values or written == "*":
        return None
    if not _LIST.fullmatch(written):
        message = 'If-Match must be * or a list of tags in quotes, as in "3-1767225600000000".'
        raise Invalid(message, problems=[Problem(message, path="header.if-match")])
    return frozenset(name for weak, name in _TAG.findall(written) if not weak)


def tagged(status: int, model: Any) -> dict[int | str, dict[str, Any]]:
    """The declared answer of a route that carries the tag."""
    header = {"description": "Names this revision.", "schema": {"type": "string"}}
    return {status: {"model": model, "headers": {"ETag": header}}}
