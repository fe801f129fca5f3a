"""The language as JSON Schema, made from the models of the step types.

What a definition may be is decided by `engine.validation`, which says more than a schema can. This
is for whoever writes definitions by program or fills in a form: the OpenAPI document, a console, an
editor. Every value that is no text may also be a template, for it is rendered before it is used.
"""

from typing import Any

from pydantic import BaseModel

from activities.base import AnyStepType
from engine.definition import Definition

_REFS = "#/components/schemas/"
_TEMPLATE = {"$ref": f"{_REFS}Template"}


def config_schema(step: AnyStepType) -> dict[str, Any]:
    """The schema of a type's `config`, complete in itself."""
    schema: dict[str, Any] = step.config.model_json_schema(by_alias=True)
    return schema


def components(types: dict[str, AnyStepType]) -> dict[str, Any]:
    """The schemas `Definition`, `Step` and `Template`, and two for each type, by name.

    They refer to each other as components of an OpenAPI document do.
    """
    found: dict[str, Any] = {
        "Template": {
            "type": "string",
            "pattern": r"\{\{",
            "description": "Text with `{{ expression }}` in it, rendered before the step runs.",
        }
    }
    definition = _schemas(Definition, found)
    step = found.pop("Step")
    found["Definition"] = definition
    mapping: dict[str, str] = {}
    for name, kind in types.items():
        camel = "".join(part.capitalize() for part in name.split("_"))
        config = _templated(_schemas(kind.config, found))
        if kind.body is not None:
            config["properties"][kind.body] = {
                **kind.config.model_json_schema(by_alias=True)["properties"][kind.body],
                "items": {"$ref": f"{_REFS}Step"},
            }
        found[f"{camel}Config"] = config
        found[f"{camel}Step"] = _step(step, name, f"{_REFS}{camel}Config", config)
        mapping[name] = f"{_REFS}{camel}Step"
    found["Step"] = {
        "oneOf": [{"$ref": ref} for ref in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    return found


def _step(base: dict[str, Any], name: str, ref: str, config: dict[str, Any]) -> dict[str, Any]:
    properties = {**base["properties"], "type": {"const": name}, "config": {"$ref": ref}}
    required = ["id", "type", *(["config"] if config.get("required") else [])]
    return {
        **base,
        "title": name,
        "description": config.get("description", ""),
        "properties": properties,
        "required": required,
    }


def _schemas(model: type[BaseModel], found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model; those of the models inside it go to `found`."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"{_REFS}{{model}}")
    found |= schema.pop("$defs", {})
    return schema


def _templated(config: dict[str, Any]) -> dict[str, Any]:
    """The schema of a configuration of which any value may be a template."""
    return {
        **config,
        "properties": {key: _or_template(value) for key, value in config["properties"].items()},
    }


def _or_template(schema: dict[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), dict) and inner[key]:
            inner[key] = _or_template(inner[key])
    free = not ({"type", "anyOf", "$ref", "enum", "const"} & inner.keys())
    if free or (inner.get("type") == "string" and not {"enum", "pattern", "format"} & inner.keys()):
        return inner
    outer: dict[str, Any] = {
        key: inner.pop(key) for key in ("description", "title", "default") if key in inner
    }
    return {"anyOf": [inner, _TEMPLATE], **outer}
