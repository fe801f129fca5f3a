"""Templates: definitions to make workflows of. Builtin ones, and those of an organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import yaml

from app.services.auth import Caller
from app.services.workflows import NewWorkflow, Workflows
from engine.errors import Conflict
from engine.lifecycle import DefinitionStatus
from store import templates, workflows
from store.database import Database, Tx
from store.templates import TemplateRow
from store.workflows import WorkflowRow

#: The package that holds the builtin ones, one a file.
_EXAMPLES = "examples"


@dataclass(frozen=True)
class Template:
    """A template without its definition; a builtin one was never made."""

    id: str
    name: str
    description: str | None
    category: str
    builtin: bool
    created_at: int | None


@dataclass(frozen=True)
class Content:
    """What a workflow is made of, and an input that its first run could have."""

    definition: dict[str, Any]
    sample_input: dict[str, Any] | None


@dataclass(frozen=True)
class NewTemplate:
    """Which workflow becomes a template; what is None is taken from it, latest version first."""

    workflow_id: str
    version: int | None
    name: str | None
    description: str | None
    category: str


@cache
def builtin_templates() -> Sequence[tuple[Template, Content]]:
    """The builtin ones, by name. The id is made of the file's name, so that it stays."""
    found = []
    for file in files(_EXAMPLES).iterdir():
        if not file.name.endswith(".yaml"):
            continue
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
        stem = file.name.removesuffix(".yaml")
        template = Template(
            id=sha256(f"builtin template {stem}".encode()).hexdigest()[:32],
            name=read["name"],
            description=read["description"],
            category=read["category"],
            builtin=True,
            created_at=None,
        )
        found.append((template, Content(read["definition"], read["input"])))
    return tuple(sorted(found, key=lambda one: one[0].name))


class Templates:
    """The builtin templates, and those of every organisation, each through its callers."""

    def __init__(
        self,
        database: Database,
        workflows: Workflows,
        builtin: Sequence[tuple[Template, Content]],
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._builtin = {template.id: (template, content) for template, content in builtin}

    async def page(
        self, caller: Caller, category: str | None, builtin: bool | None, limit: int, offset: int
    ) -> tuple[list[Template], int]:
        """Some templates, and how many there are in all: builtin ones by name, then own by age."""
        shown = [
            template
            for template, _ in self._builtin.values()
            if builtin is not False and category in (None, template.category)
        ]
        here = shown[offset : offset + limit]
        if builtin is True:
            return here, len(shown)
        own, total = await self._database.read(
            lambda tx: templates.page(
                tx,
                caller.org_id,
                category=category,
                limit=limit - len(here),
                offset=max(0, offset - len(shown)),
            )
        )
        return [*here, *map(_own, own)], len(shown) + total

    async def get(self, caller: Caller, template_id: str) -> tuple[Template, Content]:
        """The template and what it holds.

        Raises:
            NotFound: there is none of this id, builtin or in the caller's organisation.
        """
        if template_id in self._builtin:
            return self._builtin[template_id]
        row, definition = await self._database.read(
            lambda tx: templates.get(tx, caller.org_id, template_id)
        )
        return _own(row), Content(definition, None)

    async def install(self, caller: Caller, template_id: str, name: str | None) -> WorkflowRow:
        """Make a draft workflow of the template.

        Raises:
            NotFound: there is no such template.
            Invalid: its definition is not valid any more, or not under that name.
        """
        template, content = await self.get(caller, template_id)
        definition = content.definition | {"name": name or template.name}
        row, _ = await self._workflows.create(
            caller, NewWorkflow(definition, DefinitionStatus.DRAFT, "manual", [])
        )
        return row

    async def create(self, caller: Caller, new: NewTemplate) -> tuple[Template, Content]:
        """Make a template of a workflow; it keeps what it was made of, whatever becomes of that.

        Raises:
            NotFound: there is no such workflow, or it has no such version.
        """

        def work(tx: Tx) -> tuple[Template, Content]:
            row = workflows.get(tx, caller.org_id, new.workflow_id)
            version = row.version if new.version is None else new.version
            definition = workflows.version(tx, row.id, version).definition
            name = new.name or str(definition["name"])
            given = definition.get("description") if new.description is None else new.description
            made = templates.create(
                tx,
                caller.org_id,
                name=name,
                description=None if given is None else str(given),
                category=new.category,
                definition=definition | {"name": name},
            )
            return _own(made), Content(definition | {"name": name}, None)

        return await self._database.write(work)

    async def delete(self, caller: Caller, template_id: str) -> None:
        """Delete a template of the organisation; workflows that were made of it stay.

        Raises:
            NotFound: there is no such template.
            Conflict: it is a builtin one.
        """
        if template_id in self._builtin:
            raise Conflict("A builtin template cannot be deleted.")
        await self._database.write(lambda tx: templates.remove(tx, caller.org_id, template_id))


def _own(row: TemplateRow) -> Template:
    return Template(
        id=row.id,
        name=row.name,
        description=row.description,
        category=row.category,
        builtin=False,
        created_at=row.created_at,
    )
