"""The settings as a JSON Schema (draft 2020-12), made from the tree and nothing else."""

from __future__ import annotations

import typing
from typing import Any, Literal

from oci_lsp.settings import ELSEWHERE, GUARDED, Key, Settings, keys

GUARDED_NOTE = "From pyproject.toml it counts in a trusted workspace only."
_PINS = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}


def json_schema() -> dict[str, Any]:
    """What may stand under `oci_lsp` in an editor and under `[tool.oci-lsp]` in pyproject.toml.

    A key that is not in it is refused, so that a mistyped one is seen where it is written.
    """
    properties: dict[str, Any] = {}
    for key in keys().values():
        *section, leaf = key.name.split(".")
        place = properties
        if section:
            place = properties.setdefault(section[0], _section(key))["properties"]
        place[leaf] = _property(key)
    for name, doc in ELSEWHERE.items():
        properties[name] = {"description": doc, **(_PINS if name == "tests" else {})}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "oci-lsp",
        "description": Settings.__doc__,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _section(key: Key) -> dict[str, Any]:
    doc = typing.get_type_hints(Settings)[key.section].__doc__
    return {
        "description": doc,
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def _property(key: Key) -> dict[str, Any]:
    guarded = key.name in GUARDED
    described: dict[str, Any] = {
        "description": f"{key.doc}. {GUARDED_NOTE}" if guarded else key.doc,
        "default": list(key.default) if isinstance(key.default, tuple) else key.default,
        **_type(key.type),
    }
    if key.low is not None:
        described["minimum"] = key.low
    if key.high is not None:
        described["maximum"] = key.high
    return described


def _type(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) is Literal:
        return {"type": "string", "enum": list(typing.get_args(hint))}
    if typing.get_origin(hint) is tuple:
        return {"type": "array", "items": {"type": "string"}}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[hint]}
