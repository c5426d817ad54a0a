"""JSON Schema (draft 2020-12) of the team file, for editors."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from magentic_kit.team.models import TeamConfig
from magentic_kit.team.values import Model

REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""Whatever is not plain text may also be written as `${NAME}`."""


def team_schema() -> dict[str, Any]:
    """The schema of a team file."""
    schema = schema_of(TeamConfig)
    return {"$schema": EditorSchema.schema_dialect, **schema, "title": "Team file"}


def schema_of(model: type[Model]) -> dict[str, Any]:
    """The schema of a model, with those that it is made of as `$defs`."""
    return model.model_json_schema(schema_generator=EditorSchema)


class EditorSchema(GenerateJsonSchema):
    """pydantic's own, for a file in which `${NAME}` may stand for whatever is not plain text."""

    def int_schema(self, schema: Any) -> dict[str, Any]:
        """A whole number."""
        return _or_reference(super().int_schema(schema))

    def float_schema(self, schema: Any) -> dict[str, Any]:
        """A number."""
        return _or_reference(super().float_schema(schema))

    def bool_schema(self, schema: Any) -> dict[str, Any]:
        """True or false."""
        return _or_reference(super().bool_schema(schema))

    def str_schema(self, schema: Any) -> dict[str, Any]:
        """Text, which may have to match a pattern."""
        node = super().str_schema(schema)
        if "pattern" in node:
            return _or_reference(node)
        return node

    def literal_schema(self, schema: Any) -> dict[str, Any]:
        """One of some texts; a single one tells a union's models apart, and is not read from the environment."""
        node = super().literal_schema(schema)
        if "const" in node:
            return node
        return _or_reference(node)

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        """A mapping, whose keys may have to match a pattern."""
        node: dict[str, Any] = {"type": "object"}
        values = self.generate_inner(schema["values_schema"]) or True
        pattern = schema["keys_schema"].get("pattern")
        if pattern is None:
            return node | {"additionalProperties": values}
        return node | {"patternProperties": {pattern: values}, "additionalProperties": False}

    def tagged_union_schema(self, schema: Any) -> dict[str, Any]:
        """One of some models; `discriminator` is OpenAPI's, and says nothing that the models do not."""
        node = super().tagged_union_schema(schema)
        node.pop("discriminator")
        return node

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Keys say what they are called."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """A default as it could be written, without what is left out anyway."""
        if isinstance(dft, Model):
            return dft.model_dump(exclude_defaults=True)
        return super().encode_default(dft)


def _or_reference(node: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [node, REFERENCE]}
