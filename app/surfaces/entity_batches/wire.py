"""How `/api/v1` writes ids and times, and what its bodies and queries have in common.

camelCase, times in milliseconds since 1970, ids without a prefix. Source: contracts §2.1.
"""

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from engine.errors import Forbidden

#: Text that every database column takes: a NUL has no place in PostgreSQL.
Words = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Sentence = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*$")]

EntityId = Annotated[
    str,
    Path(
        alias="entityId",
        description="32 hex digits; `cbvndr_` or `cbsvc_` may precede.",
    ),
]
TypeId = Annotated[str, Path(alias="entityTypeId", description="The id or the name of a type.")]
WorkflowId = Annotated[str, Path(alias="workflowId", description="32 hex digits.")]
Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable ASCII characters. The same key and body within 24 hours "
        "gets the first answer again, marked `Idempotent-Replayed: true`.",
    ),
]


class In(BaseModel):
    """Base of every body: unknown keys are errors, and so is a text or a boolean for a number."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, strict=True)


class NothingIn(In):
    """The body where the path says everything: there is none, or an empty object."""


def millis(micros: int) -> int:
    """A time of the store, rounded down."""
    return micros // 1_000


def maybe_millis(micros: int | None) -> int | None:
    """The same of a time that may not have come yet."""
    return None if micros is None else millis(micros)


def listed(rows: list[Any], total: int, offset: int) -> dict[str, Any]:
    """A page: what is on it, how many there are in all, and whether more follow."""
    return {"data": rows, "total": total, "hasMore": offset + len(rows) < total}


async def in_project(
    request: Request,
    project: Annotated[
        str | None,
        Header(alias="X-Project-Id", description="The organisation of the key; may be left out."),
    ] = None,
) -> None:
    """Refuse a request for another project than that of its key; contracts B-q5.

    Raises:
        Forbidden: it names another one.
    """
    if project is not None and project != request.state.caller.org_id:
        raise Forbidden("The key belongs to another project.")


#: What every route here depends on.
IN_PROJECT = Depends(in_project)
