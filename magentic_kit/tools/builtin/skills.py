"""The skills of one agent: their instructions and files are read when they are needed, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from semantic_kernel.functions.kernel_function_decorator import kernel_function

from magentic_kit.team.problems import nearest
from magentic_kit.team.skills import SKILL_FILE, Skill
from magentic_kit.tools.builtin.files import FilesPlugin


class SkillsPlugin:
    """The text files of skills. Each skill's folder is read as by the `files` plugin: nothing outside, no link."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._folders = {skill.name: FilesPlugin(skill.folder) for skill in skills}

    @kernel_function(name="read", description="Reads a skill's instructions, or lines of a file that it names.")
    def read(
        self,
        skill: Annotated[str, "Name of the skill"],
        file: Annotated[str, "Relative path of a file in its folder"] = SKILL_FILE,
        start_line: Annotated[int, "First line, from 1"] = 1,
        lines: Annotated[int, "How many lines"] = 400,
    ) -> str:
        """The lines. Raises `ValueError` for a skill that is not there, `OSError` for a file that is not."""
        if skill not in self._folders:
            raise ValueError(f"there is no skill {skill!r}{nearest(skill, self._folders)}")
        text: str = self._folders[skill].read(file, start_line, lines)
        return text
