"""What the sections of the settings share: their configuration, and how a field is declared."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A group of settings. Each field is a flag, a variable and a key of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def setting(default: Any, description: str) -> Any:
    """A field on which answers may depend, with its help."""
    return Field(default=default, description=description, json_schema_extra={"shapes_results": True})


def neutral(default: Any, description: str) -> Any:
    """A field on which no answer depends, with its help."""
    return Field(default=default, description=description, json_schema_extra={"shapes_results": False})
