"""The operations of an OpenAPI document: what a model is shown of each, and how it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from magentic_kit.tools.function_names import function_name
from magentic_kit.tools.openapi_requests import SentBody, SentOperation, SentParameter
from magentic_kit.tools.remote_functions import Parameter
from magentic_kit.tools.schemas import Schema, SchemaReferences

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
"""Headers that OpenAPI says are no parameters."""
_AS_TEXT = re.compile(r"text/.+|application/(?:.+\+)?(?:xml|yaml|x-yaml|javascript|graphql|x-ndjson|sql)")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_TEXT = {"type": "string"}


Described: TypeAlias = Mapping[str, Schema]
"""An object of the document."""


class Operation(NamedTuple):
    """A function for the model, and how it is sent."""

    name: str
    description: str
    parameters: list[Parameter]
    sent: SentOperation


@dataclass
class Operations:
    """Reads a document's operations; `left_out` says in words what of it cannot be offered.

    `given` are parameters that are sent with every request, as (place, name): a model is not asked for them.
    """

    root: Described
    given: frozenset[tuple[str, str]] = frozenset()
    left_out: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Operation]:
        references, names = SchemaReferences(), set[str]()
        for path, item in self.root["paths"].items():
            if not isinstance(item, dict):
                continue
            elsewhere = item.get("$ref")
            item = references.inlined_at_top(item, self.root)
            if elsewhere and not any(method in item for method in _METHODS):
                self.left_out.append(f"{path}: it stands elsewhere, at {elsewhere}")
            for method in _METHODS:
                if method not in item:
                    continue
                try:
                    operation = self._operation(method, path, item, references)
                    name = operation.name
                    if name in names:  # a second one of that id
                        name = function_name(f"{method}{path}")
                    if name in names:
                        raise ValueError(f"another operation is called {name}")
                    names.add(name)
                    yield operation._replace(name=name)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    self.left_out.append(f"{method.upper()} {path}: {_reason(error)}")

    def _operation(self, method: str, path: str, item: Described, references: SchemaReferences) -> Operation:
        operation = item[method]
        listed = references.inlined([*item.get("parameters", ()), *operation.get("parameters", ())], self.root)
        taken = _Names()
        shown: list[Parameter] = []
        sent: list[SentParameter] = []
        for parameter in {(one["name"], one["in"]): one for one in listed}.values():
            place, name = parameter["in"], parameter["name"]
            if (place, name) in self.given or (place == "header" and name.lower() in _NOT_PARAMETERS):
                continue
            argument = taken.unique(name, place)
            sent.append(SentParameter.of(argument, parameter))
            is_required = bool(parameter.get("required")) or place == "path"
            shown.append(Parameter(argument, _schema_of(parameter), is_required))
        body = None
        if operation.get("requestBody"):
            body, more = _body(references.inlined(operation["requestBody"], self.root), taken.unique)
            shown += more
        words = [operation.get("summary"), operation.get("description")]
        return Operation(
            name=function_name(operation.get("operationId") or f"{method}{path}"),
            description="\n\n".join(filter(None, words)),
            parameters=shown,
            sent=SentOperation(method, path, sent, body),
        )


class _Names:
    """Names of arguments for the model, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str, place: str) -> str:
        """The name, as models may write it; with its place if another parameter has it already."""
        plain = re.sub(r"[^0-9A-Za-z_]+", "_", name)
        if plain in self._taken:
            plain = f"{plain}_{place}"
        if plain in self._taken:
            raise ValueError(f"it has two parameters '{name}'")
        self._taken.add(plain)
        return plain


def _schema_of(parameter: Described) -> Described:
    content = parameter.get("content") or {}
    inner = next(iter(content.values()), parameter)
    return _described(inner.get("schema", _TEXT), parameter.get("description"))


def _described(schema: Schema, about: str | None) -> Described:
    """The schema with the words about what it is of, if it has none itself."""
    described: dict[str, Schema] = {}
    if isinstance(schema, dict):
        described.update(schema)
    if about:
        described.setdefault("description", about)
    return described


def _body(body: Described, unique: Callable[[str, str], str]) -> tuple[SentBody | None, list[Parameter]]:
    """How a body is sent, and what of it the model is asked for. Raises `ValueError` if no type of it can be sent."""
    content = body.get("content") or {}
    if not content:
        return None, []
    media_type = _media_type(content)
    plain = media_type.partition(";")[0].strip().lower()
    schema = _merged((content[media_type] or {}).get("schema", {}))
    properties = schema.get("properties") if isinstance(schema, dict) else None
    has_members = bool(properties) and not any(key in schema for key in ("oneOf", "anyOf", "not"))
    if not has_members or not ("json" in plain or plain in _FORMS):
        if plain == "multipart/form-data":
            raise ValueError("its form has no fields of its own")
        argument = unique("body", "content")
        if not schema and "json" not in plain:
            schema = _TEXT
        whole = _described(schema, body.get("description"))
        return SentBody(plain, whole=argument), [Parameter(argument, whole, bool(body.get("required")))]
    return _members(plain, schema, unique, is_required=body.get("required", True) is not False)


def _members(
    media_type: str, schema: Described, unique: Callable[[str, str], str], *, is_required: bool
) -> tuple[SentBody, list[Parameter]]:
    required = schema.get("required", ())
    if not is_required:
        required = ()
    members: dict[str, str] = {}
    shown: list[Parameter] = []
    nullable, files = set[str](), set[str]()
    for name, member in schema["properties"].items():
        if isinstance(member, dict) and member.get("readOnly"):
            continue
        argument = unique(name, "body")
        members[argument] = name
        if _may_be_null(member):
            nullable.add(name)
        if media_type == "multipart/form-data" and _is_file(member):
            files.add(name)
            member = {"type": "string", "description": member.get("description", "Text of a file.")}
        shown.append(Parameter(argument, member, name in required))
    body = SentBody(media_type, members=members, nullable=frozenset(nullable), files=frozenset(files))
    return body, shown


def _media_type(content: Described) -> str:
    """The type of body that a model can write best. Raises `ValueError` if it can write none of them."""

    def rank(media_type: str) -> int:
        plain = media_type.partition(";")[0].strip().lower()
        if re.fullmatch(r"application/(?:.+\+)?json|\*/\*|application/\*", plain):
            return 0
        if plain in _FORMS:
            return 1 + _FORMS.index(plain)
        if _AS_TEXT.fullmatch(plain):
            return 3
        return 9

    best = min(content, key=rank)
    if rank(best) == 9:
        raise ValueError(f"its body is {', '.join(content)}, which a model cannot write")
    return best


def _merged(schema: Schema) -> Schema:
    """An `allOf` of objects as one object."""
    if not isinstance(schema, dict) or not isinstance(schema.get("allOf"), list):
        return schema
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    merged["properties"] = dict(merged.get("properties", {}))
    merged["required"] = list(merged.get("required", ()))
    for part in map(_merged, schema["allOf"]):
        if not isinstance(part, dict) or part.keys() & {"oneOf", "anyOf", "not"}:
            return schema
        merged["properties"].update(part.get("properties", {}))
        merged["required"] += part.get("required", ())
    return merged


def _may_be_null(schema: Schema) -> bool:
    if not isinstance(schema, dict):
        return True
    if schema.get("nullable") is True or schema.get("type") == "null" or None in schema.get("enum", ()):
        return True
    kinds = schema.get("type")
    return (isinstance(kinds, list) and "null" in kinds) or any(
        map(_may_be_null, [*schema.get("oneOf", ()), *schema.get("anyOf", ())])
    )


def _is_file(schema: Schema) -> bool:
    if not isinstance(schema, dict):
        return False
    is_binary = schema.get("format") == "binary" or "contentMediaType" in schema
    return is_binary or _is_file(schema.get("items"))


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError):
        return str(error)
    return f"it is not described as OpenAPI wants it ({type(error).__name__}: {error})"
