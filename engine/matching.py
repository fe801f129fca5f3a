"""What a step that waits for an event wants of it, and whether one is that.

A wait's `match` is an expression over the event, and over what the step knows when it begins to
wait: those values are kept with it, so that an event can be judged wherever it is published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from engine.expressions import ExpressionError, known_part, required_texts
from engine.expressions.budget import Meter
from engine.expressions.evaluate import run
from engine.expressions.template import unwrapped
from engine.expressions.values import kind

#: The variables of `match` that are the event's; everything else is the step's.
EVENT_VARIABLES = ("event", "entity")
#: What a wait can be found by: a key of the event's data, or the id of what it is about.
_DATA = ("event", "data")
_ENTITY = ("entity", "id")
#: Steps of work that one comparison may take: an event may meet many waits.
_STEPS = 50_000


@dataclass(frozen=True)
class Happening:
    """An event, as expressions see it.

    Attributes:
        id: as it is spelled to users.
        entity: `{"id", "type", "fields"}` of what it is about; None when that is no entity.
    """

    id: str
    name: str
    data: JsonValue
    entity: dict[str, JsonValue] | None = None

    def scope(self) -> dict[str, JsonValue]:
        """The variables `event` and `entity`."""
        event: dict[str, JsonValue] = {"id": self.id, "name": self.name, "data": self.data}
        return {"event": event, "entity": self.entity}


@dataclass(frozen=True)
class Pin:
    """A text that every event which can match has at this path."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Wanted:
    """What a step waits for.

    Attributes:
        match: an expression over the event and `scope`; None when any of the name will do.
        scope: the values of what `match` mentions besides the event.
        pin: what the wait can be found by.
    """

    event: str
    match: str | None = None
    scope: Mapping[str, JsonValue] = field(default_factory=dict)
    pin: Pin | None = None


def pin_of(match: str, scope: Mapping[str, JsonValue]) -> Pin | None:
    """What a wait can be found by; None when every event of the name has to be looked at.

    It is `event.data.KEY == VALUE` or `entity.id == VALUE`, alone or joined to more by `&&`.
    """
    for path, text in required_texts(match, scope, EVENT_VARIABLES):
        if path == _ENTITY or (path[:2] == _DATA and len(path) == 3):
            return Pin(path, text)
    return None


def pins(happening: Happening) -> Iterator[Pin]:
    """Every pin that a wait which this event satisfies can have."""
    if isinstance(happening.data, dict):
        for key, value in happening.data.items():
            if isinstance(value, str):
                yield Pin((*_DATA, key), value)
    if happening.entity is not None and isinstance(text := happening.entity.get("id"), str):
        yield Pin(_ENTITY, text)


def taken_along(match: str, scope: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The values of what `match` mentions besides the event."""
    return known_part(match, scope, EVENT_VARIABLES)


def satisfies(happening: Happening, match: str | None, scope: Mapping[str, JsonValue]) -> bool:
    """Whether this is the event that is waited for.

    A `match` that cannot be evaluated with it, or is neither true nor false, is not satisfied:
    events of one name need not look alike.
    """
    try:
        return match is None or _judged(happening, match, scope)
    except ExpressionError:
        return False


def unjudgeable(
    happening: Happening, match: str | None, scope: Mapping[str, JsonValue]
) -> str | None:
    """Why it cannot be said whether this is the event that is waited for; None where it can."""
    try:
        if match is not None:
            _judged(happening, match, scope)
    except ExpressionError as error:
        return str(error)
    return None


def _judged(happening: Happening, match: str, scope: Mapping[str, JsonValue]) -> bool:
    source = unwrapped(match)
    answer = run(source, {**scope, **happening.scope()}, Meter(_STEPS))
    if not isinstance(answer, bool):
        raise ExpressionError(f"it must be true or false, not {kind(answer)}", source)
    return answer
