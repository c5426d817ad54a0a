"""The templates of a team, and the variables that each of them uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from magentic_kit.team.models import ManagerPrompts
from magentic_kit.team.problems import Route, get, nearest
from magentic_kit.text import one_line

_BLOCK = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_VARIABLE = re.compile(r"\$(\w+)")
_USUAL = "semantic-kernel"

# Semantic Kernel's grammar: a block is `{{` and what may follow up to `}}`, and quoted text may hold both.
_CODE = re.compile(r"\{\{(?!\{)((?:'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|(?!\{\{|\}\}).)*?)\}\}", re.DOTALL)
_NAME = r"[0-9A-Za-z_]+"
_TEXT = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
_VALUE = re.compile(rf"\${_NAME}|{_TEXT}", re.DOTALL)
_NAMED = rf"{_NAME}=(?:\${_NAME}|'[^'\"^]+'|\"[^'\"^]+\")"
_CALL = re.compile(rf"(?:{_NAME}\.)?{_NAME}(?:\s+(?:\${_NAME}|{_TEXT}|{_NAMED}))?(?:\s+{_NAMED})*", re.DOTALL)


class Template(NamedTuple):
    """A text, where it stands, the variables it may use, and its language."""

    route: Route
    text: str
    known: list[str]
    language: str = _USUAL
    has_functions: bool = False
    """Whether functions of plugins may be called in it."""

    def problems(self) -> Iterator[str]:
        """What is wrong with it, in words."""
        try:
            used = _used_in_jinja2(self.text) if self.language == "jinja2" else self._used()
        except ValueError as error:
            yield str(error)
            return
        for name in used:
            if name not in self.known:
                sign = "" if self.language == "jinja2" else "$"
                hint = nearest(name, self.known) or "; declare it under 'inputs'"
                yield f"{{{{{sign}{name}}}}} is not defined{hint}"

    def _used(self) -> list[str]:
        if "{{" in _BLOCK.sub("", self.text):
            raise ValueError("a {{ is not closed")
        if self.language != _USUAL:
            return []
        self._check_syntax()
        blocks = " ".join(_QUOTED.sub("", block) for block in _BLOCK.findall(self.text))
        return list(dict.fromkeys(_VARIABLE.findall(blocks)))

    def _check_syntax(self) -> None:
        """Raises `ValueError` about the first block that Semantic Kernel cannot fill in."""
        for code in map(str.strip, _CODE.findall(self.text)):
            if not code or _VALUE.fullmatch(code) or (self.has_functions and _CALL.fullmatch(code)):
                continue
            forms = "{{$name}} or {{plugin.function}}" if self.has_functions else "{{$name}}"
            raise ValueError(f"{{{{{one_line(code, 60)}}}}} cannot be filled in; write {forms}")


def _used_in_jinja2(text: str) -> list[str]:
    if "{" not in text:
        return []
    from jinja2 import Environment, TemplateSyntaxError, meta, nodes

    try:
        tree = Environment(autoescape=True).parse(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"this is not valid jinja2: {error.message} (its line {error.lineno})") from error
    called = {getattr(call.node, "name", "") for call in tree.find_all(nodes.Call)}  # SK offers functions too
    return sorted(meta.find_undeclared_variables(tree) - called)


def templates(data: Any) -> Iterator[Template]:
    """Every template in a team's data, however wrong the data is."""
    inputs = list(get(data, "inputs", kind=dict))
    yield Template(("task",), get(data, "task", kind=str), inputs)
    for name, field in ManagerPrompts.model_fields.items():
        own = _VARIABLE.findall(field.description or "")
        yield Template(("manager", "prompts", name), get(data, "manager", "prompts", name, kind=str), [*own, *inputs])
    for n, agent in enumerate(get(data, "agents", kind=list)):
        key = "prompt_template" if get(agent, "prompt_template") else "template"
        template = get(agent, key, kind=dict)
        own = [get(spec, "name", kind=str) for spec in get(template, "input_variables", kind=list)]
        known = [*inputs, *get(agent, "inputs", kind=dict), *own]
        language = template.get("template_format", template.get("format", _USUAL))
        for route, text in (
            (("agents", n, "instructions"), get(agent, "instructions", kind=str)),
            (("agents", n, key, "template"), get(template, "template", kind=str)),
        ):
            yield Template(route, text, known, language, has_functions=True)
