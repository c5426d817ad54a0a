"""`validate` looks into the code, the data files and the scripts that a team names, and imports none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from magentic_kit.cli import app
from magentic_kit.errors import ConfigError
from magentic_kit.team.loading import load_team

CODE = """
import pathlib
from collections import OrderedDict as Ordered
pathlib.Path("imported").touch()

class Sales:
    def __init__(self, csv_file, *, year=2025, **more): ...

class Tickets:
    def __init__(self, file: str, limit: int = 3): ...
    class Inner: ...

class Bare:
    def count(self): ...

class Derived(Sales): ...

@decorated
class Decorated:
    def __init__(self, file): ...

class Made:
    def __new__(cls, *args): ...

try:
    import fast as engine
except ImportError as reason:
    engine = None

def make(model, size=1): ...
"""

FILES = {
    "plugins/sales.py": CODE,
    "plugins/dynamic.py": "globals()['Sales'] = 1\n",
    "plugins/lazy.py": "def __getattr__(name): ...\n",
    "plugins/starred.py": "from os.path import *\n",
    "plugins/broken.py": "x = 1\ndef f(:\n",
    "plugins/strays.py": "return 1\n",
    "wide/__init__.py": "__path__ = ['elsewhere']\n",
    "whole/__init__.py": "from .part import Thing\n",
    "whole/part.py": "class Thing:\n    def __init__(self, size): ...\n",
    "data/sales.csv": "a,b\n",
}

SERVICES = "services: {default: {provider: scripted, script: {}}}"
AGENTS = "agents: [{name: Analyst, description: Looks.}, {name: Writer, description: Writes.}]"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(project: Path, *lines: str, extra: dict[str, str] | None = None) -> list[str]:
    """Every error and warning of a team whose third line on are `lines`, without the folder's name."""
    for name, text in (extra or {}).items():
        (project / name).write_text(text)
    rest = [line for line in (SERVICES, AGENTS) if not any(other[:8] == line[:8] for other in lines)]
    (project / "team.yaml").write_text("\n".join(["name: t", *rest, *lines, ""]))
    try:
        problems = load_team(project / "team.yaml", env={}, thorough=True).warnings
    except ConfigError as error:
        problems = error.problems
    assert not (project / "imported").exists()
    return [str(problem).replace(f"{project}/", "") for problem in problems]


def plugin(target: str, args: str = "{}") -> str:
    return f"plugins: {{p: {{type: python, target: '{target}', args: {args}}}}}"


TARGETS = {
    "plugins.sale:Sales": "there is no module 'plugins.sale'; did you mean 'plugins.sales'?",
    "plugin.sales:Sales": "there is no module 'plugin'; did you mean 'plugins'?",
    "nowhere_at_all:X": "there is no module 'nowhere_at_all'",
    "json.decodr:X": "there is no module 'json.decodr'; did you mean 'json.decoder'?",
    "plugins.sales:Sale": "plugins.sales has no 'Sale'; did you mean 'Sales'?",
    "plugins.sales:mak": "plugins.sales has no 'mak'; did you mean 'make'?",
    "plugins.sales:Tickets.Iner": "Tickets has no 'Iner'; did you mean 'Inner'?",
    "json.decoder:JSONDecodr": "json.decoder has no 'JSONDecodr'; did you mean 'JSONDecoder'?",
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_is_not_there_is_found_with_its_place_and_the_nearest_name(target: str, project: Path) -> None:
    assert found(project, plugin(target)) == [f"team.yaml:4:37: plugins.p.target: {TARGETS[target]}"]


@pytest.mark.parametrize("name", ["broken", "strays"])
def test_a_syntax_error_is_found_where_it_stands(name: str, project: Path) -> None:
    (problem,) = found(project, plugin(f"plugins.{name}:X"))
    line = {"broken": 2, "strays": 1}[name]
    assert problem.startswith(f"team.yaml:4:37: plugins.p.target: plugins/{name}.py:{line}:")
    assert ": this is not valid Python: " in problem


@pytest.mark.parametrize(
    "target",
    [
        "plugins.sales:Ordered",
        "plugins.sales:engine",
        "plugins.sales:Derived.anything",
        "plugins.sales:Tickets.Inner",
        "plugins.dynamic:Sales",
        "plugins.lazy:Sales",
        "plugins.starred:join",
        "wide.gone:X",
        "whole:Thing",
        "os.path:join",
        "math:sqrt",
        "_json:scanstring",
        "semantic_kernel.core_plugins.text_plugin:TextPlugin",
    ],
)
def test_what_is_there_or_may_be_is_no_error(target: str, project: Path) -> None:
    assert found(project, plugin(target)) == []


ARGUMENTS = {
    ("Sales", "{csv_file: data/sales.csv, anything: 1}"): [],
    ("Sales", "{yaer: 1}"): ["66: plugins.p.args: Sales needs the argument 'csv_file'"],
    ("Tickets", "{fil: x}"): [
        "68: plugins.p.args: Tickets needs the argument 'file'",
        "69: plugins.p.args: Tickets has no argument 'fil'; did you mean 'file'?",
    ],
    ("Tickets", "{}"): ["37: plugins.p.args: Tickets needs the argument 'file'"],
    ("Bare", "{file: x}"): ["66: plugins.p.args: Bare has no argument 'file'; it takes none"],
    ("Derived", "{file: x}"): [],
    ("Decorated", "{fil: x}"): [],
    ("Made", "{fil: x}"): [],
}


@pytest.mark.parametrize(("name", "args"), ARGUMENTS)
def test_wrong_arguments_are_found_where_the_code_shows_them(name: str, args: str, project: Path) -> None:
    wrong = [problem.removeprefix("team.yaml:4:") for problem in found(project, plugin(f"plugins.sales:{name}", args))]
    assert wrong == ARGUMENTS[name, args]


def test_the_callable_of_a_service_is_checked_as_a_plugin_s_class_is(project: Path) -> None:
    services = "services: {default: {provider: python, target: 'plugins.sales:make', args: {modl: 1}}}"
    assert found(project, services) == [
        "team.yaml:3:76: services.default.args: make needs the argument 'model'",
        "team.yaml:3:77: services.default.args: make has no argument 'modl'; did you mean 'model'?",
    ]


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ("{csv_file: data/salse.csv}", "'data/salse.csv'; did you mean 'data/sales.csv'?"),
        ("{csv_file: x, more: {files: [data/gone.json]}}", "'data/gone.json'"),
    ],
)
def test_a_data_file_that_is_not_there_is_a_warning_with_its_place(args: str, hint: str, project: Path) -> None:
    (warning,) = found(project, plugin("plugins.sales:Sales", args))
    assert warning.startswith("team.yaml:4:") and warning.endswith(f": there is no file {hint}")


@pytest.mark.parametrize(
    "value",
    ["data/sales.csv", "sales.csv in data", "https://x.example/a.csv", "*.csv", "text/plain", "gpt-4.1", "a.b.Class"],
)
def test_what_is_there_or_no_path_is_no_warning(value: str, project: Path) -> None:
    assert found(project, plugin("plugins.sales:Sales", f"{{csv_file: '{value}'}}")) == []


def test_a_file_that_is_to_be_written_need_not_be_there(project: Path) -> None:
    assert found(project, plugin("plugins.sales:Sales", "{csv_file: x, out_file: report.md}")) == []


SCRIPT = """\
manager:
  plan: p
  anwser: a
  ledger:
    - ledger: {next: Analist}
    - ledger: {next: Writer, satisfid: true}
Analyst: Seen.
Wirter:
  - Written.
"""


def test_an_unknown_agent_in_a_script_is_found_with_its_place_in_the_script(project: Path) -> None:
    services = "services: {default: {provider: scripted, script: script.yaml}}"
    assert found(project, services, extra={"script.yaml": SCRIPT}) == [
        "script.yaml:3:3: manager is asked for no 'anwser'; did you mean 'answer'?",
        "script.yaml:5:22: there is no agent 'Analist'; did you mean 'Analyst'?",
        "script.yaml:6:30: a ledger has no 'satisfid'; did you mean 'satisfied'?",
        "script.yaml:8:1: there is no agent 'Wirter'; did you mean 'Writer'?",
    ]


def test_an_unknown_agent_in_a_script_inside_the_team_is_found_too(project: Path) -> None:
    services = "services: {default: {provider: scripted, script: {Wirter: [x]}}}"
    assert found(project, services) == [
        "team.yaml:3:51: services.default.script: there is no agent 'Wirter'; did you mean 'Writer'?"
    ]


def test_what_a_member_s_team_file_names_is_looked_into_too(project: Path) -> None:
    (project / "member.yaml").write_text(f"name: m\n{SERVICES}\n{AGENTS}\n{plugin('plugins.gone:X')}\n")
    agents = "agents: [{name: Desk, description: Asks., type: team, team: member.yaml}]"
    assert found(project, agents) == ["member.yaml:4:37: plugins.p.target: there is no module 'plugins.gone'"]


def test_other_commands_load_the_team_all_the_same(project: Path) -> None:
    found(project, plugin("plugins.gone:X"))
    assert load_team(project / "team.yaml", env={}).warnings == ()


def test_validate_ends_with_the_error_and_strict_with_the_warning(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found(project, plugin("plugins.sales:Sales", "{csv_file: data/salse.csv}"))
    assert app.run(["validate", str(project / "team.yaml")]) == 0
    assert "warning: " in capsys.readouterr().err
    assert app.run(["validate", "--strict", str(project / "team.yaml")]) == 2
    found(project, plugin("plugins.sales:Sale"))
    assert app.run(["validate", str(project / "team.yaml")]) == 2


def test_no_package_around_a_module_is_imported(project: Path) -> None:
    found(project, plugin("semantic_kernel.core_plugins.text_plugin:TextPlugn"))
    program = (
        "import sys; from magentic_kit.cli import app; code = app.run(['validate', 'team.yaml']);"
        "sys.exit(10 * code + ('semantic_kernel' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr.count("TextPlugn")) == (20, 1), done.stderr
