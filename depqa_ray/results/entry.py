"""What all entries of ``results.json`` have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _encodable(value: Any) -> Any:
    """The text with lone surrogates, which the store keeps, replaced: UTF-8 cannot encode them."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_encodable)]


class Entry(BaseModel):
    """An entry: frozen, without fields that the schema does not know."""

    # from_attributes: an entry's field also accepts the record that the inner entry is built from.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, from_attributes=True)


def shared_fields(entry: type[BaseModel], *records: object) -> dict[str, Any]:
    """The fields of ``entry`` that one of the records has under the same name, with the record's values."""
    return {name: getattr(record, name) for record in records for name in entry.model_fields if hasattr(record, name)}
