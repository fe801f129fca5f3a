"""`transform`: make a value of others, or rewrite fields.

Source: DESIGN §8 and contracts §2.3.
"""

import asyncio
from collections.abc import Callable
from typing import Literal, Self

from markdown_it import MarkdownIt
from pydantic import Field, JsonValue, model_validator
from slugify import slugify

from activities.base import StepConfig, StepContext, StepType
from engine.catalog import Naming
from engine.errors import StepError
from engine.outcomes import Done, EntityChange

MOST_TRANSFORMS = 200
#: Characters of Markdown; a hundred thousand of the worst kind take some seconds.
LONGEST_MARKDOWN = 100_000


class FieldTransform(StepConfig):
    """What becomes of one field.

    Attributes:
        target: the field that gets the result; the same one when left out.
    """

    field: str = Field(min_length=1, max_length=500)
    transform: Literal["uppercase", "lowercase", "slugify", "markdown_to_html", "trim"]
    target: str | None = Field(default=None, min_length=1, max_length=500)


class Config(StepConfig):
    """Makes a value of others, or rewrites fields.

    With `transforms`, fields of the record that the run or the batch's lane is about are rewritten,
    or else those of `input`. Each is `{"field", "transform", "target"?}`, and sees what those
    before it have made; the result goes to `target`, or else to the field itself. In a batch the
    entity is changed; elsewhere the fields are in the output and nowhere else.

    The transforms are `uppercase`, `lowercase`, `trim`, `slugify` (`Crème brûlée!` becomes
    `creme-brulee`; what has no letters or digits becomes empty) and `markdown_to_html` (CommonMark
    with tables; HTML in it is shown and not obeyed, and no link runs a script; 100,000 characters
    at most). Of a list of texts each one is rewritten. A field that is not there or null is left
    alone.
    """

    output: JsonValue = Field(
        default=None, description="Any template; what it renders to is the output."
    )
    transforms: list[FieldTransform] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_TRANSFORMS,
        description="What becomes of which fields, 1 to 200; instead of `output`.",
    )

    @model_validator(mode="after")
    def _is_one_form(self) -> Self:
        if ("output" in self.model_fields_set) == (self.transforms is not None):
            raise ValueError("needs one of 'output' and 'transforms'")
        return self


async def run(config: Config, context: StepContext) -> Done:
    """Answer the rendered template, or the fields that were rewritten."""
    if config.transforms is None:
        return Done(output=config.output)
    before = context.record
    if not isinstance(before, dict):
        raise _failure("not_an_object", context, "has no object whose fields it could rewrite")
    fields: dict[str, JsonValue] = {}
    for one in config.transforms:
        value = fields.get(one.field, before.get(one.field))
        if value is not None:
            fields[one.target or one.field] = await _rewritten(value, one, context)
    changed = {name: value for name, value in fields.items() if before.get(name) != value}
    entity = EntityChange(fields=changed) if changed else None
    return Done(output={"fields": fields}, entity=entity)


async def _rewritten(value: JsonValue, how: FieldTransform, context: StepContext) -> JsonValue:
    texts = value if isinstance(value, list) else [value]
    made: list[JsonValue] = []
    for text in texts:
        if not isinstance(text, str):
            what = f"cannot rewrite '{how.field}': it is neither a text nor a list of texts"
            raise _failure("not_a_text", context, what)
        if how.transform != "markdown_to_html":
            made.append(_TRANSFORMS[how.transform](text))
        elif len(text) > LONGEST_MARKDOWN:
            what = f"cannot rewrite '{how.field}': it has over {LONGEST_MARKDOWN:,} characters"
            raise _failure("text_too_long", context, what)
        else:
            # A long one takes a while.
            made.append(await asyncio.to_thread(_html, text))
    return made if isinstance(value, list) else made[0]


def _failure(code: str, context: StepContext, what: str) -> StepError:
    return StepError(code, f"Step '{context.step}' {what}.", retryable=False)


def _slug(text: str) -> str:
    # Which of its tables it takes would otherwise depend on what else is installed.
    return slugify(text, backend="text-unidecode")


def _html(text: str) -> str:
    """Without HTML of the author's, and with links that the library holds harmless."""
    # One for each text: it builds its tables at first use, and threads would meet there.
    rendered: str = MarkdownIt("js-default").render(text)
    return rendered


_TRANSFORMS: dict[str, Callable[[str], str]] = {
    "uppercase": str.upper,
    "lowercase": str.lower,
    "slugify": _slug,
    "trim": str.strip,
}


STEP = StepType(
    config=Config,
    run=run,
    output='the value; with `transforms` `{"fields": {…}}`, the fields that were rewritten.',
    errors="`not_a_text` (the message names the field), `text_too_long`, `not_an_object` (none is "
    "retried).",
    lane="decides",
    reads_input=True,
    naming=Naming(frozenset({"field", "target"})),
)
