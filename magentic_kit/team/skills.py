"""Skills of agents in the Agent Skills format: folders whose SKILL.md says in its front matter what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from magentic_kit.errors import ConfigError
from magentic_kit.team.bounded_yaml import load_yaml
from magentic_kit.team.document import Document
from magentic_kit.team.problems import get, label
from magentic_kit.text import one_line

SKILL_FILE = "SKILL.md"
PLUGIN = "skills"
"""The plugin by whose one function, `read`, an agent reads its skills."""

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)---[ \t]*(?:\n|$)", re.DOTALL)
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LARGEST = 1_000_000  # characters
_MOST_SKILLS = 200
_LONGEST_NAME, _LONGEST_DESCRIPTION = 64, 1024  # characters, as the format has them

_INTRODUCTION = """

You have skills: folders with instructions for certain work. Before you do what one of them is for, read it by the
function skills.read, and then the files that it names, as far as you need them.
"""


class Skill(NamedTuple):
    """A skill, as its front matter describes it."""

    name: str
    description: str
    folder: Path


def load_skills(folders: Iterable[Path]) -> list[Skill]:
    """The skills of folders: each is one, or has them in its own folders. Raises `ConfigError` for what is none."""
    skills: dict[str, Skill] = {}
    for folder in folders:
        for skill in map(_load, _skill_folders(folder)):
            if skills.setdefault(skill.name, skill) is not skill:
                raise ConfigError.one(f"there are two skills called {skill.name}", file=str(folder))
    return list(skills.values())


def introduced(skills: Iterable[Skill]) -> str:
    """What stands in an agent's instructions about its skills."""
    lines = [f"- {skill.name}: {one_line(skill.description)}" for skill in skills]
    # The instructions are a template, and a description is none.
    return (_INTRODUCTION + "\n".join(lines)).replace("{{", "{ {").replace("{%", "{ %") if lines else ""


def check_skills(document: Document) -> None:
    """Reports skills that cannot be used, and agents whose skills meet a plugin of the same name."""
    for n, agent in enumerate(get(document.data, "agents", kind=list)):
        listed = get(agent, "skills", kind=list)
        who = label(("agents", n), document.data)
        before: list[Path] = []
        for at, folder in enumerate(listed):
            if isinstance(folder, str) and (path := document.base_dir / folder).is_dir():  # else it is reported already
                try:
                    load_skills([*before, path])
                    before.append(path)
                except ConfigError as error:
                    problem = error.problems[0]
                    document.report(("agents", n, "skills", at), f"{who}: {problem.file}: {problem.message}")
        if listed and PLUGIN in get(document.data, "plugins", kind=dict):
            message = f"{who} reads its skills by a plugin 'skills': give the plugin of that name another one"
            document.report(("agents", n, "skills"), message)


def _skill_folders(folder: Path) -> Iterator[Path]:
    if (folder / SKILL_FILE).is_file():
        yield folder
        return
    found = sorted(path.parent for path in folder.glob(f"*/{SKILL_FILE}"))
    if not found:
        raise ConfigError.one(f"there is no {SKILL_FILE} in it, nor in its folders", file=str(folder))
    if len(found) > _MOST_SKILLS:
        raise ConfigError.one(f"has more than {_MOST_SKILLS} skills", file=str(folder))
    yield from found


def _load(folder: Path) -> Skill:
    path = folder / SKILL_FILE
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LARGEST + 1)
        match = _FRONT_MATTER.match(text)
        data = load_yaml(match[1]) if match else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError.one(f"cannot be read: {one_line(str(error), 200)}", file=str(path)) from error
    if not isinstance(data, dict):
        raise ConfigError.one(
            "should begin with a front matter of name and description between lines of ---", file=str(path)
        )
    name, description = data.get("name"), data.get("description")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        message = f"needs a name of small letters, digits and hyphens, up to {_LONGEST_NAME} characters"
        raise ConfigError.one(message, file=str(path))
    if not isinstance(description, str) or not 0 < len(description.strip()) <= _LONGEST_DESCRIPTION:
        message = f"needs a description of up to {_LONGEST_DESCRIPTION:,} characters, which says when to use it"
        raise ConfigError.one(message, file=str(path))
    if len(text) > _LARGEST:
        raise ConfigError.one(f"has more than {_LARGEST:,} characters", file=str(path))
    return Skill(name, description.strip(), folder)
