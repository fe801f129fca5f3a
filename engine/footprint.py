"""What a definition will do, read off without running it: for reviews, audits and allow-lists."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import JsonValue

from engine.catalog import Catalog
from engine.definition import Definition, Step
from engine.expressions import References, expression_references, references
from engine.plan import body_of


@dataclass(frozen=True)
class Footprint:
    """What a definition uses.

    Attributes:
        step_types: the types of its steps, those in loop bodies included.
        hosts: the hosts that its URLs name, in lower case and without ports.
        open_steps: ids of steps that have a URL whose host is only known in the run.
        secrets: the names of the secrets that it reads.
    """

    step_types: frozenset[str]
    hosts: frozenset[str]
    open_steps: frozenset[str]
    secrets: frozenset[str]


def footprint(definition: Definition, catalog: Catalog) -> Footprint:
    """Read off what a definition that `engine.validation` found nothing wrong with will use.

    A URL is the text of a key `url`, or one that ends in `_url`, at any depth of a configuration.
    """
    hosts: set[str] = set()
    open_steps: set[str] = set()
    types: set[str] = set()
    secrets = set(references(definition.output).secrets)
    for step in _walk(definition.steps, catalog):
        types.add(step.type)
        for found in _references(step, catalog):
            secrets |= found.secrets
        for url in _urls(_own_config(step, catalog)):
            host = _host(url)
            if host is None:
                open_steps.add(step.id)
            else:
                hosts.add(host)
    return Footprint(frozenset(types), frozenset(hosts), frozenset(open_steps), frozenset(secrets))


def _walk(steps: Sequence[Step], catalog: Catalog) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _walk(body_of(step, catalog.get(step.type)), catalog)


def _own_config(step: Step, catalog: Catalog) -> dict[str, JsonValue]:
    """The configuration without the steps of a loop."""
    kind = catalog.get(step.type)
    body = kind.body if kind else None
    return {key: value for key, value in step.config.items() if key != body}


def _references(step: Step, catalog: Catalog) -> Iterator[References]:
    kind = catalog.get(step.type)
    if step.when is not None:
        yield expression_references(step.when)
    for key, value in _own_config(step, catalog).items():
        if kind is not None and key in kind.expressions and isinstance(value, str):
            yield expression_references(value)
        else:
            yield references(value)


def _urls(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and (key == "url" or key.endswith("_url")):
                yield inner
            else:
                yield from _urls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _urls(inner)


def _host(url: str) -> str | None:
    """The host of a URL; None when a placeholder may decide it.

    >>> _host("https://API.example.com:8443/{{ input.path }}")
    'api.example.com'
    >>> _host("https://{{ input.region }}.example.com/") is None
    True
    """
    literal, placeholder, _ = url.partition("{{")
    try:
        parts = urlsplit(literal.strip())
        host = parts.hostname
    except ValueError:
        return None
    settled = not placeholder or any(mark in literal.split("://", 1)[-1] for mark in "/?#")
    return host if settled else None
