"""References in a team's texts, `${NAME}` and SK's placeholders, which are filled in when the team is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from magentic_kit.errors import Problem
from magentic_kit.team.placeholders import SECTIONS, variable_of
from magentic_kit.team.problems import Route, nearest
from magentic_kit.team.stored import NO_VARIABLE, Piece

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_]\w*)(:-[^}]*)?\}|([A-Za-z]\w*):([A-Za-z]\w*)\})?")
HOW_TO_GIVE = "set {} in the environment or .env, or give the value by --set"


class ReferencesInText:
    """Fills in references, and notes what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[Problem] = []
        self._agent_types: dict[Route, str] = {}
        self._broken: set[Route] = set()
        self._lacking: dict[Route, Problem] = {}

    def problem(self, route: Route, message: str) -> Problem:
        """A problem with the value at `route`."""
        raise NotImplementedError

    def report(self, route: Route, message: str) -> None:
        """Note a problem, unless the value or something around it has one already: that is problem enough."""
        if not any(route[:n] in self._broken for n in range(len(route) + 1)):
            self.problems.append(self.problem(route, message))
            self._broken.add(route)

    def _filled(self, text: str, route: Route) -> Iterator[Piece]:
        """The parts of the text, with its `${NAME}` filled in."""
        at = 0
        for match in _REFERENCE.finditer(text):
            yield Piece(text[at : match.start()])
            at = match.end()
            name, default, section, key = match.groups()
            if match[0] == "$${":
                yield Piece("${")
            elif section:
                yield self._placeholder(section, key, route)
            elif not name:
                self.report(route, "${ should begin a reference such as ${NAME}; write $${ for the characters")
            else:
                yield self._variable(name, default and default.removeprefix(":-"), route)
        yield Piece(text[at:])

    def _placeholder(self, section: str, key: str, route: Route) -> Piece:
        """The value of SK's placeholder `${section:key}`."""
        name = variable_of(section, key, self._agent_types.get(route[:2], ""))
        if name is None:
            hint = nearest(section, SECTIONS)
            self.report(route, f"Semantic Kernel has no placeholder ${{{section}:{key}}}{hint}")
            return Piece("")
        message = f"${{{section}:{key}}} is the environment variable {name}, which is not set"
        return self._variable(name, None, route, message)

    def _variable(self, name: str, default: str | None, route: Route, unset: str = "") -> Piece:
        value = self.env.get(name)
        if value or (value is not None and not default):
            return Piece(value, name, default)
        if default is None:
            message = unset or f"environment variable {name} is not set; set it or write ${{{name}:-default}}"
            if name.startswith(NO_VARIABLE):
                message = f"the secret that stood here is not stored with a run; {HOW_TO_GIVE.format(name)}"
            if not any(route[:n] in self._broken for n in range(len(route) + 1)):
                self._lacking[route] = self.problem(route, message)
            self.report(route, message)
        return Piece(default or "", name, default, unset=True)
