"""Writes configs/README.md, the reference of the team file, from the models that check it; run it after a change."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, get_args

import jinja2

from magentic_kit.services.dialects import DIALECT
from magentic_kit.team import agents, models, plugins, services
from magentic_kit.team.schema import REFERENCE, schema_of
from magentic_kit.team.values import Model

TARGET = Path(__file__).parents[2] / "configs" / "README.md"
TEMPLATE = Path(__file__).with_name("reference.md.j2")
MODELS = Path(__file__).parents[1] / "models"
SECTIONS = {  # model -> heading of its part
    "InputSpec": "inputs",
    "AgentConfig": "agents",
    "ModelSpec": "model",
    "ModelConnection": "model.connection",
    "ToolSpec": "tools",
    "PromptTemplate": "template",
    "ContextConfig": "context",
    "Price": "price",
    "ManagerConfig": "manager",
    "ManagerPrompts": "prompts",
    "AnswerConfig": "answer",
    "Limits": "limits",
    "ReviewConfig": "review",
    "ReportConfig": "report",
}
NAMES = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping", "null": ""}
UNUSED = "Part of SK's declarative spec"


def reference() -> str:
    """The whole document."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        table=table,
        about=lambda name: _schema(name)["description"],
        kinds=kinds,
        sections=SECTIONS,
        services=[model.__name__ for model in _models(services.Service)],
        plugins=[model.__name__ for model in _models(plugins.Plugin)],
        dialects=[f"| `{name}` | {meaning} |" for name, meaning in DIALECT.items()],
        copes=copes(),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def copes() -> list[str]:
    """What real servers and models do, by the names of the tests that show that it does no harm."""
    rows = []
    for file in sorted(MODELS.glob("test_*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        tables = {
            node.target.id if isinstance(node, ast.AnnAssign) else node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
        }
        for test in tree.body:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                used = [
                    node.id for part in test.decorator_list for node in ast.walk(part) if isinstance(node, ast.Name)
                ]
                cases = [key.value for name in used if name in tables for key in tables[name].keys if key]
                if cases:
                    sentence = test.name.removeprefix("test_").replace("_", " ").capitalize()
                    rows.append(f"| {sentence}. | {'; '.join(case.replace('|', '&#124;') for case in cases)} |")
    return rows


def table(name: str, *, besides: str = "") -> str:
    """The model's fields; `besides` is a base whose fields have a table of their own."""
    model, schema = _model(name), _schema(name)
    known = _schema(besides)["properties"] if besides else {}
    fields = {k: v for k, v in schema["properties"].items() if known.get(k) != v and not v.get("const")}
    unused = [f"`{key}`" for key, field in fields.items() if field.get("description", "").startswith(UNUSED)]
    rows = [
        f"| `{key}` | {kind(field)} | {default(key, field, model)} | {field['description']} |"
        for key, field in fields.items()
        if f"`{key}`" not in unused and key not in ("provider", "transport")
    ]
    head = ["| key | value | default | what it is |", "|---|---|---|---|"]
    notes = ["", f"Part of the spec, and without effect here: {', '.join(unused)}."] if unused else []
    return "\n".join([*head, *rows, *notes])


def kinds(name: str, *keys: str) -> str:
    """What the keys that choose this model may be."""
    fields = _schema(name)["properties"]
    values = [" or ".join(_values(fields[key])) for key in keys if key in fields]
    return f", {keys[-1]}: ".join(values)


def kind(field: dict[str, Any]) -> str:
    """What a value looks like."""
    if parts := field.get("anyOf"):
        types = {part.get("type") for part in parts}
        if types >= {"string", "number"} and "boolean" not in types:
            return "text" if "integer" in types else "time"
        return " or ".join(dict.fromkeys(filter(None, map(kind, parts))))
    if reference := field.get("$ref"):
        section = SECTIONS[reference.rsplit("/")[-1]]
        return f"[{section}](#{section.replace('.', '')})"
    if values := _values(field):
        return ", ".join(f"`{value}`" for value in values)
    if field.get("type") == "array":
        return f"list of {plural}" if (plural := {"text": "texts"}.get(one := kind(field["items"]), one)) else "list"
    names = field.get("patternProperties") or {"": field.get("additionalProperties")}
    if isinstance(inner := next(iter(names.values())), dict):
        parts = {"InputSpec": "inputs", "Service": "services", "Plugin": "plugins"}
        section = next((f"[{section}](#{section})" for word, section in parts.items() if word in str(inner)), None)
        return f"name → {section or kind(inner)}"
    return NAMES.get(field.get("type", ""), field.get("type", "anything"))


def default(key: str, field: dict[str, Any], model: type[Model]) -> str:
    """The value that an absent key stands for."""
    if model.model_fields[key].is_required():
        return "**required**"
    if "$ref" in field:
        return "as below"
    value = field.get("default")
    if value in (None, "", [], {}):
        return "—"
    if kind(field) == "time" and isinstance(value, float):
        return f"`{value:g}s`" if value < 600 else f"`{value / 60:g}m`"
    shown = (
        str(value).lower() if isinstance(value, bool) else f"[{', '.join(value)}]" if isinstance(value, list) else value
    )
    return f"`{shown}`"


def _values(field: dict[str, Any]) -> list[str]:
    single = [field["const"]] if "const" in field else []
    return single or list(field.get("enum", [])) or list(field.get("items", {}).get("enum", []))


def _model(name: str) -> type[Model]:
    return next(vars(room)[name] for room in (models, agents, services, plugins) if name in vars(room))


def _schema(name: str) -> dict[str, Any]:
    model = _model(name)
    schema: dict[str, Any] = _without_references(schema_of(model))
    return {**schema, "properties": {key: schema["properties"][key] for key in model.model_fields}}


def _without_references(node: Any) -> Any:
    """A schema without the `${NAME}` that may stand for whatever is not text."""
    if isinstance(node, list):
        return [_without_references(item) for item in node if item != REFERENCE]
    if not isinstance(node, dict):
        return node
    node = {key: _without_references(value) for key, value in node.items()}
    return {**node.pop("anyOf")[0], **node} if len(node.get("anyOf", ())) == 1 else node


def _models(union: Any) -> list[type]:
    """The models of a union, however deep it is."""
    return [union] if isinstance(union, type) else [m for part in get_args(union) for m in _models(part)]


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
