"""Templates: any JSON whose strings may hold placeholders."""

from collections.abc import Collection, Iterator, Mapping

from pydantic import JsonValue

from engine.expressions.budget import Meter, check_output
from engine.expressions.errors import ExpressionError
from engine.expressions.evaluate import expression_problems, program, run
from engine.expressions.static import References
from engine.expressions.template import Placeholder, pieces, sole
from engine.expressions.values import to_text


def render(template: JsonValue, scope: Mapping[str, JsonValue]) -> JsonValue:
    """Replace every placeholder by its value, once: results are data and are not rendered again.

    A string that is exactly one placeholder (space around it apart) becomes the value with its
    type. In any other string a value is written as text: a string as it is, null as nothing,
    everything else as compact JSON with sorted keys. Keys of objects are not rendered. The budgets
    of work and size hold for the whole template.

    Args:
        template: JSON of any shape.
        scope: the variables, as for `evaluate`.

    Returns:
        JSON; parts of it may be parts of `scope` or `template`: do not change them.

    Raises:
        ExpressionError: the first placeholder that cannot be evaluated.
    """
    rendered = _render(template, scope, Meter())
    check_output(rendered)
    return rendered


def references(template: JsonValue) -> References:
    """What the placeholders of a template refer to.

    Raises:
        ExpressionError: one of them does not parse.
    """
    return References.union(
        program(piece.source).references
        for _, text in _texts(template, "")
        for piece in pieces(text)
        if isinstance(piece, Placeholder)
    )


def problems(
    template: JsonValue, path: str = "", extra: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Everything that is wrong with a template's placeholders, found without data.

    Args:
        template: JSON of any shape.
        path: where the template stands; the places inside are appended, as in `config.urls.0`.
        extra: variables that exist here beside the usual ones, as a loop's `item_var`.

    Returns:
        Pairs of a path and a message, in the order of the template.
    """
    found: list[tuple[str, str]] = []
    for place, text in _texts(template, path):
        try:
            parts = pieces(text)
        except ExpressionError as error:
            found.append((place, str(error)))
            continue
        for piece in parts:
            if isinstance(piece, Placeholder):
                found.extend((place, one) for one in expression_problems(piece.source, extra))
    return found


def _render(template: JsonValue, scope: Mapping[str, JsonValue], meter: Meter) -> JsonValue:
    if isinstance(template, dict):
        return {key: _render(value, scope, meter) for key, value in template.items()}
    if isinstance(template, list):
        return [_render(value, scope, meter) for value in template]
    if not isinstance(template, str) or "{{" not in template:
        return template
    if placeholder := sole(template):
        return run(placeholder.source, scope, meter)
    parts: list[str] = []
    for piece in pieces(template):
        if isinstance(piece, str):
            parts.append(piece)
            continue
        text = to_text(run(piece.source, scope, meter), meter)
        meter.build_text(len(text))
        parts.append(text)
    return "".join(parts)


def _texts(template: JsonValue, path: str) -> Iterator[tuple[str, str]]:
    """Every string that holds a placeholder, with its path."""
    if isinstance(template, str):
        if "{{" in template:
            yield path, template
    elif isinstance(template, dict):
        for key, value in template.items():
            yield from _texts(value, f"{path}.{key}" if path else key)
    elif isinstance(template, list):
        for index, value in enumerate(template):
            yield from _texts(value, f"{path}.{index}" if path else str(index))
