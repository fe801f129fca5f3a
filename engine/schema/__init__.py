"""What a run's input has to look like: the `input_schema` of a definition, JSON Schema 2020-12.

    graph      which schemas a schema applies, and to what
    price      how often one value may be looked at, so that no schema can stall a process

`schema_problems` looks at a schema when its definition is checked, `check_input` at an input when a
run starts. Whoever starts runs calls the second; neither changes what it is given, and defaults are
not filled in. A pattern is matched in linear time, by an engine that does not backtrack; one that
needs more (look-around, back-references) is refused. References lead nowhere but inside the schema.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from itertools import islice

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError
from pydantic import JsonValue

from engine.errors import Problem
from engine.schema.graph import UnreadableSchema, Where, draw
from engine.schema.price import Price, weigh

__all__ = ["INPUT", "check_input", "schema_problems"]

#: What the path of a problem with an input begins with.
INPUT = "input_data"
#: Characters of a schema as compact JSON.
MAX_SCHEMA = 64 * 1024
#: Problems that are listed of one schema or one input.
MAX_PROBLEMS = 100
#: Looks at values: the most for one input, and the most for which every problem is listed.
MAX_WORK = 5_000_000
MAX_LISTED = 100_000
#: Characters of a message; it may quote the schema, or the keys of an input.
MAX_MESSAGE = 300
#: Characters of one part of a path, which an input may have for a key.
_MAX_PART = 100
#: Bytes that one compiled pattern may take.
_PATTERN = 1 << 20

_VALUE = "the value"
_BAD_PATTERN = (
    "the regular expression is not valid, is too large, or has look-around or back-references,"
    " which are not supported"
)
_OWN_WORDS = {
    "contains": "no item of the list is of the kind that is asked for",
    "falseSchema": "the value must not be there",
}
_META = Draft202012Validator(
    {"$ref": "https://json-schema.org/draft/2020-12/schema"}, mask=_VALUE, offline=True
)


def schema_problems(schema: Mapping[str, JsonValue], path: str = "input_schema") -> list[Problem]:
    """Everything that is wrong with a schema, in a fixed order; `MAX_PROBLEMS` at most.

    Args:
        schema: what the author wrote.
        path: where it is in its document.
    """
    found = _schema_problems(dict(schema), path)
    return list(islice(dict.fromkeys(found), MAX_PROBLEMS))


def _schema_problems(schema: dict[str, JsonValue], path: str) -> Iterator[Problem]:
    text = _text(schema)
    if len(text) > MAX_SCHEMA:
        yield _complaint(path, (), f"it is over {MAX_SCHEMA:,} characters of JSON")
        return
    wrong = [_problem(error, path) for error in _errors(_META.iter_errors(schema))]
    if wrong:
        yield from wrong
        return
    try:
        graph = draw(schema)
    except UnreadableSchema as error:
        for where, complaint in error.complaints:
            yield _complaint(path, where, complaint)
        return
    bad = [where for where, pattern in graph.patterns if not _is_linear(pattern)]
    if bad:
        for where in bad:
            yield _complaint(path, where, _BAD_PATTERN)
        return
    if Price(graph).at(0) > MAX_LISTED:
        yield _complaint(path, (), "it refers to itself too often")
        return
    try:
        _validator(schema)
    except ValidationError as error:
        yield _problem(error, path)


def check_input(
    schema: Mapping[str, JsonValue] | None, data: JsonValue, path: str = INPUT
) -> list[Problem]:
    """What keeps an input from fitting a schema that `schema_problems` found nothing wrong with.

    All of it at once, `MAX_PROBLEMS` at most; of an input that is very large, the first.

    Args:
        schema: None when everything fits.
        data: the input.
        path: what the paths of the problems begin with.
    """
    if schema is None:
        return []
    compiled = _compiled(_text(schema))
    try:
        return compiled.problems(data, path)
    except UnicodeEncodeError:
        return [_complaint(path, (), "it holds text that is not valid Unicode")]


class _Compiled:
    """A schema that is ready to be compared with."""

    def __init__(self, text: str) -> None:
        schema = json.loads(text)
        self._price = Price(draw(schema))
        self._validator = _validator(schema)

    def problems(self, data: JsonValue, path: str) -> list[Problem]:
        """What is wrong with an input."""
        work = self._price.of(weigh(data))
        if work > MAX_WORK:
            return [_complaint(path, (), "it is too much to compare with the input_schema")]
        if self._validator.is_valid(data):
            return []
        if work > MAX_LISTED:
            try:
                self._validator.validate(data)
            except ValidationError as error:
                return [_problem(error, path)]
        errors = _errors(self._validator.iter_errors(data))
        return [_problem(error, path) for error in errors]


@functools.lru_cache(maxsize=256)
def _compiled(text: str) -> _Compiled:
    return _Compiled(text)


def _text(schema: Mapping[str, JsonValue]) -> str:
    return json.dumps(schema, separators=(",", ":"))


def _validator(schema: dict[str, JsonValue]) -> Draft202012Validator:
    """The schema, compiled.

    Raises:
        ValidationError: it is no schema.
    """
    return Draft202012Validator(
        schema,
        validate_formats=False,
        mask=_VALUE,
        pattern_options=RegexOptions(size_limit=_PATTERN, dfa_size_limit=2 * _PATTERN),
        offline=True,
    )


def _is_linear(pattern: str) -> bool:
    try:
        _validator({"pattern": pattern})
    except ValidationError:
        return False
    return True


def _errors(found: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """The first errors, each place and message once: alternatives repeat them."""
    seen: set[tuple[str, ...]] = set()
    for error in found:
        mark = (error.message, *map(str, error.instance_path))
        if mark not in seen:
            seen.add(mark)
            yield error
        if len(seen) == MAX_PROBLEMS:
            return


def _complaint(path: str, where: Where, complaint: str) -> Problem:
    place = ".".join((path, *(_shown(part, _MAX_PART) for part in where)))
    return Problem(f"{place}: {complaint}", path=place)


def _problem(error: ValidationError, path: str) -> Problem:
    """An error of the library as a sentence that names the place and no value."""
    place = ".".join((path, *(_shown(str(part), _MAX_PART) for part in error.instance_path)))
    words = _OWN_WORDS.get(error.kind.name, error.message)
    return Problem(_shown(f"{place}: {words}", MAX_MESSAGE), path=place)


def _shown(text: str, length: int) -> str:
    short = text if len(text) <= length else text[: length - 1] + "…"
    return short.encode("utf-8", "replace").decode()
