"""What is taken and answered about types of records."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from app.surfaces.entity_batches.wire import In, Sentence, Words

#: `name` and `type`; `slug`, `required`, `options` and whatever else is to be kept with it.
FieldIn = Annotated[
    dict[str, Any],
    Field(
        json_schema_extra={
            "properties": {
                "name": {"type": "string"},
                "type": {"type": "string"},
                "slug": {"type": "string"},
                "required": {"type": "boolean"},
                "options": {"type": "array"},
            },
            "required": ["name", "type"],
        }
    ),
]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,99}$")]


class TypeIn(In):
    """A new type."""

    name: Words
    plural_name: Words
    slug: Slug | None = None
    description: Sentence | None = None
    icon: Annotated[Words, Field(max_length=64)] | None = None
    fields: list[FieldIn]


class TypeChangeIn(In):
    """What changes of a type; `fields` replaces the whole list."""

    name: Words = ""
    plural_name: Words = ""
    slug: Slug = ""
    description: Sentence | None = None
    icon: Annotated[Words, Field(max_length=64)] | None = None
    fields: list[FieldIn] = Field(default=[])


class TypeOut(TypedDict):
    """A type. Times are milliseconds."""

    id: str
    name: str
    pluralName: str
    slug: str
    description: str | None
    icon: str | None
    fields: list[dict[str, Any]]
    builtin: bool
    createdAt: int
    updatedAt: int


class TypesOut(TypedDict):
    """A page of types; `total` counts all pages."""

    data: list[TypeOut]
    total: int
    hasMore: bool


class TypeRemovedOut(TypedDict):
    """A type that is no more."""

    id: str
    deleted: bool
