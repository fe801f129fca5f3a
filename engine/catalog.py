"""What the engine has to know of a step type, as data.

The types themselves live in `activities.steps`; whoever validates or plans a definition passes the
catalog in, so that this room never imports one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

#: `decides`: always a local activity. `short`: begins as one and is handed over when it takes
#: long. `long`: an ordinary activity from the start.
Lane = Literal["decides", "short", "long"]


@dataclass(frozen=True)
class Naming:
    """Where a configuration names fields of the record.

    Attributes:
        keys: at any depth; each has the name of a field, or a list of them.
        unless: the key that gives another object instead of the record.
    """

    keys: frozenset[str]
    unless: str | None = None


@dataclass(frozen=True)
class StepKind:
    """One step type, seen from the language.

    Attributes:
        name: what definitions write in `type`.
        config: the model of its `config`.
        lane: how it is carried out.
        timeout: seconds for one attempt, unless the step says otherwise.
        expressions: keys of `config` whose text is an expression and not a template.
        body: the key of `config` that holds a nested list of steps.
        targets: keys of `config` that list ids of steps which this one lets through or excludes.
        live: its expressions may look at steps that it does not depend on.
        upstream: it is given the steps that it depends on, whether its texts name them or not.
        reads_input: it is given `input`, `event` and `entity`, whether its texts name them or not.
        secrets: its templates may use `secrets`: it gives them to somebody outside, and keeps none.
        whole: the key of `config` which, when true, has a batch carry the step out one time, after
            all lanes.
        per_entity: a batch can run it for each of its entities.
        naming: where it names fields of the record that it is about.
    """

    name: str
    config: type[BaseModel]
    lane: Lane = "long"
    timeout: float = 300
    expressions: tuple[str, ...] = ()
    body: str | None = None
    targets: tuple[str, ...] = ()
    live: bool = False
    upstream: bool = False
    reads_input: bool = False
    secrets: bool = False
    whole: str | None = None
    per_entity: bool = True
    naming: Naming | None = None


Catalog = Mapping[str, StepKind]
