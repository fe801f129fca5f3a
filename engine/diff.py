"""What changed from one definition to another: as RFC 6902 operations, and as a sentence.

Applied in their order to the old document the operations give the new one. Objects of a list that
have an `id` each, as steps do, are matched by it, so that a step put in front does not rewrite all
behind it. What is added, removed and moved comes before what changes inside, so that the paths of
the latter are those of the new document. Source: contracts §3.7.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import takewhile

from pydantic import JsonValue

#: One operation: `op` and `path`, and `value` (add, replace) or `from` (move).
Operation = dict[str, JsonValue]

#: Entries of a list up to which they are matched by id; it takes the square of their number.
_MATCHED = 1_000


def diff(old: JsonValue, new: JsonValue) -> list[Operation]:
    """The operations that make `new` of `old`; none when they are the same.

    >>> diff({"steps": [{"id": "a"}]}, {"steps": [{"id": "b"}, {"id": "a"}]})
    [{'op': 'add', 'path': '/steps/0', 'value': {'id': 'b'}}]
    >>> diff({"a/b": 1, "c": 1}, {"a/b": 2})
    [{'op': 'remove', 'path': '/c'}, {'op': 'replace', 'path': '/a~1b', 'value': 2}]
    """
    return list(_changes(old, new, ""))


def summary(old: dict[str, JsonValue], new: dict[str, JsonValue]) -> str:
    """What changed between two definitions, in words; steps are those of the outermost scope.

    >>> summary({"name": "a", "steps": [{"id": "x"}]}, {"name": "b", "steps": [{"id": "y"}]})
    'Added 1 step, removed 1 step, changed name'
    >>> summary({"name": "a", "steps": []}, {"name": "a", "steps": []})
    'No changes'
    """
    said = [*_steps_said(_by_id(old), _by_id(new))]
    for key in dict.fromkeys([*old, *new]):
        if key == "steps" or (key in old and key in new and same(old[key], new[key])):
            continue
        verb = "added" if key not in old else "changed" if key in new else "removed"
        said.append(f"{verb} {key}")
    text = ", ".join(said) or "no changes"
    return text[0].upper() + text[1:]


def same(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are the same JSON; Python takes `true` for 1, and 1 for 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _changes(old: JsonValue, new: JsonValue, path: str) -> Iterator[Operation]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _object_changes(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = _ids(old), _ids(new)
        if before is None or after is None:
            yield from _list_changes(old, new, path)
        else:
            yield from _matched_changes(dict(zip(before, old, strict=True)), after, new, path)
    elif not same(old, new):
        yield {"op": "replace", "path": path, "value": new}


def _object_changes(
    old: dict[str, JsonValue], new: dict[str, JsonValue], path: str
) -> Iterator[Operation]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": _below(path, key)}
    for key, value in new.items():
        if key not in old:
            yield {"op": "add", "path": _below(path, key), "value": value}
    for key, value in new.items():
        if key in old:
            yield from _changes(old[key], value, _below(path, key))


def _list_changes(old: list[JsonValue], new: list[JsonValue], path: str) -> Iterator[Operation]:
    """By position, between what both begin and what both end with."""
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    end, new_end = len(old) - tail, len(new) - tail
    shared = min(end, new_end)
    for index in reversed(range(shared, end)):
        yield {"op": "remove", "path": _below(path, index)}
    for index in range(shared, new_end):
        yield {"op": "add", "path": _below(path, index), "value": new[index]}
    for index in range(head, shared):
        yield from _changes(old[index], new[index], _below(path, index))


def _alike(one: Sequence[JsonValue], other: Sequence[JsonValue]) -> int:
    """How many entries both begin with."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: same(*pair), pairs))


def _matched_changes(
    old: dict[str, JsonValue], after: list[str], new: list[JsonValue], path: str
) -> Iterator[Operation]:
    """By id: whoever is not in its order is moved, and as few as possible."""
    wanted = {key: index for index, key in enumerate(after)}
    current = list(old)
    for index in reversed(range(len(current))):
        if current[index] not in wanted:
            del current[index]
            yield {"op": "remove", "path": _below(path, index)}
    staying = _ascending([wanted[key] for key in current])
    for index, key in enumerate(after):
        if index in staying:
            continue
        source = current.index(key) if key in old else None
        if source is not None:
            del current[source]
        # Behind the one before it: those are in their order already, whatever stands between.
        target = current.index(after[index - 1]) + 1 if index else 0
        current.insert(target, key)
        if source is None:
            yield {"op": "add", "path": _below(path, target), "value": new[index]}
        elif source != target:
            yield {"op": "move", "from": _below(path, source), "path": _below(path, target)}
    for index, key in enumerate(after):
        if key in old:
            yield from _changes(old[key], new[index], _below(path, index))


def _ids(values: list[JsonValue]) -> list[str] | None:
    """The `id` of each entry, when all have one and no two the same."""
    if len(values) > _MATCHED:
        return None
    found = [value.get("id") for value in values if isinstance(value, dict)]
    ids = [key for key in found if isinstance(key, str)]
    return ids if len(ids) == len(values) == len(set(ids)) else None


def _ascending(numbers: list[int]) -> set[int]:
    """The longest run of ascending numbers among distinct ones, in their order.

    >>> sorted(_ascending([3, 0, 1, 2]))
    [0, 1, 2]
    """
    #: The least number that a run of each length can end with, and what came before each number.
    ends: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        place = bisect_left(ends, number)
        before[number] = ends[place - 1] if place else None
        ends[place : place + 1] = [number]
    found: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        found.add(last)
        last = before[last]
    return found


def _below(path: str, key: str | int) -> str:
    return f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"


def _by_id(definition: dict[str, JsonValue]) -> dict[str, JsonValue]:
    steps = definition["steps"]
    assert isinstance(steps, list)
    return dict(zip(_ids(steps) or (), steps, strict=True))


def _steps_said(old: dict[str, JsonValue], new: dict[str, JsonValue]) -> Iterator[str]:
    kept = [key for key in new if key in old]
    for verb, count in (
        ("added", len(new) - len(kept)),
        ("removed", len(old) - len(kept)),
        ("modified", sum(not same(old[key], new[key]) for key in kept)),
    ):
        if count:
            yield f"{verb} {count} step{'' if count == 1 else 's'}"
    if kept != [key for key in old if key in new]:
        yield "reordered steps"
