"""Do the links between steps lead somewhere, and never round in a circle?

A step comes before another when that one depends on it, is a branch target of it, or is its catch
or fallback step. One more order is hidden: who depends on a step also waits for the catch and
fallback steps that have to run because it failed.
"""

from collections.abc import Iterator

from engine.errors import Problem
from engine.validation.sketch import Scope, Sketch, shown

#: Cycles that are listed; a dense knot has millions.
MAX_CYCLES = 50

#: A step, and whether it stands for itself once it is needed as a catch or fallback step. From then
#: on it no longer waits for the other steps that name it, so it is a node of its own: a catch step
#: that a chain of steps shares is not a cycle.
Node = tuple[str, bool]
Graph = dict[Node, dict[Node, None]]


def link_problems(scope: Scope) -> Iterator[Problem]:
    """Links to steps that do not exist, and cycles; in bodies as well."""
    everywhere = {step.id for step in scope.walk()}
    for step in scope.walk():
        yield from _dangling(step, everywhere)
    for inner in scope.scopes():
        yield from _cycles(inner)


# --- links that lead nowhere --------------------------------------------------------------------


def _dangling(step: Sketch, everywhere: set[str]) -> Iterator[Problem]:
    for other in step.depends_on:
        absent = _absent(step, other, everywhere)
        if absent:
            yield step.problem(f" depends on '{shown(other)}' which {absent}", "depends_on")
    if step.text("on_error") == "fallback" and not step.raw.get("fallback_step"):
        yield step.problem(": on_error is 'fallback' without a fallback_step", "fallback_step")
    if step.raw.get("fallback_step") and step.text("on_error") != "fallback":
        yield step.problem(": fallback_step needs on_error 'fallback'", "on_error")
    for key in ("fallback_step", "catch_step"):
        other = step.text(key) or step.id
        absent = _absent(step, other, everywhere)
        if other == step.text(key) == step.id:
            yield step.problem(f": {key} is the step itself", key)
        elif absent:
            yield step.problem(f": {key} '{shown(other)}' {absent}", key)
    yield from _dangling_branches(step, everywhere)


def _dangling_branches(step: Sketch, everywhere: set[str]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, named in step.branches.items():
        for other in named:
            absent = _absent(step, other, everywhere)
            if other == step.id:
                yield step.problem(f": '{key}' names the step itself", "config", key)
            elif absent:
                yield step.problem(
                    f": '{key}' names '{shown(other)}' which {absent}", "config", key
                )
            if first.setdefault(other, key) != key:
                both = f"'{first[other]}' and '{key}'"
                yield step.problem(f": '{shown(other)}' is in both {both}", "config", key)


def _absent(step: Sketch, other: str, everywhere: set[str]) -> str | None:
    """How a step is absent: altogether, or only from this list of steps; None when it is there."""
    if other in step.scope.by_id or other == step.id:
        return None
    return "doesn't exist" + (" in the same list of steps" if other in everywhere else "")


# --- cycles ---------------------------------------------------------------------------------------


def _cycles(scope: Scope) -> Iterator[Problem]:
    position = {step_id: index for index, step_id in enumerate(scope.by_id)}
    found: dict[tuple[str, ...], None] = {}
    for nodes in _circles(_waits(scope)):
        names = _simple(nodes)
        start = names.index(min(names, key=lambda name: position[name]))
        found[(*names[start:], *names[:start])] = None
        if len(found) == MAX_CYCLES:
            break
    for cycle in found:
        names = [shown(name) for name in (*cycle, cycle[0])]
        path = scope.by_id[cycle[0]].path
        yield Problem(f"Cycle detected: {' → '.join(names)}", names[0], path)


def _waits(scope: Scope) -> Graph:
    """Who is waited for by whom."""
    steps = [step for step in scope.steps if scope.by_id.get(step.id) is step]
    graph: Graph = {(step.id, itself): {} for step in steps for itself in (False, True)}
    needed = {other for step in steps for other in step.rescuers}
    for step in steps:
        for target in step.branch_targets:
            if target in scope.by_id and target != step.id:
                _link(graph, (step.id, False), target)
                _link(graph, (step.id, True), target)
        for other in step.depends_on:
            if other in scope.by_id:
                _link_dependent(graph, scope.by_id[other], step.id)
        rescuers = [other for other in step.rescuers if other in scope.by_id and other != step.id]
        for rescuer in rescuers:
            graph[step.id, False][rescuer, False] = None
            if step.id in needed:
                # A catch or fallback step that fails needs its own; until then those wait for it.
                graph[step.id, True][rescuer, True] = None
        if len(rescuers) == 2:
            graph[rescuers[0], True][rescuers[1], True] = None
    return graph


def _link(graph: Graph, before: Node, after: str) -> None:
    graph[before].update({(after, False): None, (after, True): None})


def _link_dependent(graph: Graph, other: Sketch, dependent: str) -> None:
    if dependent in other.rescuers:
        graph[other.id, False][dependent, False] = None
        return
    _link(graph, (other.id, False), dependent)
    _link(graph, (other.id, True), dependent)
    for stand_in in _stand_ins(other):
        _link(graph, (stand_in, True), dependent)


def _stand_ins(step: Sketch) -> list[str]:
    """What has to be over, too, where `step` has failed: its catch, its fallback and theirs."""
    found: dict[str, None] = {}
    failing: Sketch | None = step
    while failing is not None:
        known = [other for other in failing.rescuers if other in step.scope.by_id]
        fallback = failing.text("fallback_step")
        follows = fallback in known and fallback not in found
        found.update(dict.fromkeys(known))
        failing = step.scope.by_id[fallback] if follows and fallback is not None else None
    return list(found)


def _circles(graph: Graph) -> Iterator[list[Node]]:
    """One cycle for each edge that leads back, found by walking depth first in a fixed order."""
    done: set[Node] = set()
    for root in graph:
        trail: list[Node] = []
        place: dict[Node, int] = {}
        todo: list[tuple[Node, Iterator[Node]]] = []
        if root not in done:
            todo.append((root, iter(graph[root])))
            place[root] = 0
            trail.append(root)
        while todo:
            node, following = todo[-1]
            after = next(following, None)
            if after is None:
                todo.pop()
                trail.pop()
                del place[node]
                done.add(node)
            elif after in place:
                yield trail[place[after] :]
            elif after not in done:
                place[after] = len(trail)
                trail.append(after)
                todo.append((after, iter(graph[after])))


def _simple(nodes: list[Node]) -> list[str]:
    """The ids of a cycle; where a step is in it twice, the part that begins with it as such."""
    names = [name for name, _ in nodes]
    for name, needed in nodes:
        if not needed and names.count(name) == 2:
            start = nodes.index((name, False))
            turned = nodes[start:] + nodes[:start]
            return _simple(turned[: turned.index((name, True))])
    return names
