"""Skills of an agent: named in its instructions, read when needed, and never more than their own folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall, text_of

from magentic_kit import ConfigError, TeamFactory

SKILL = """\
---
name: {name}
description: "How to {name}; use it for {{{{braces}}}}."
license: MIT
---
# {name}

Step one: see [the table](tables/rates.csv).
"""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


def skill(folder: Path, name: str, text: str | None = None) -> Path:
    (folder / name / "tables").mkdir(parents=True)
    (folder / name / "SKILL.md").write_text(SKILL.format(name=name) if text is None else text)
    (folder / name / "tables" / "rates.csv").write_text("a,1\n")
    (folder / name / "secret").symlink_to(folder / "outside.txt")
    return folder / name


def team(base_url: str, skills: list[str], **agent: Any) -> dict[str, Any]:
    services = {"default": {"provider": "openai", "model": "m", "base_url": base_url}}
    ada = {"name": "Ada", "description": "d", "instructions": "Be exact.", "skills": skills, **agent}
    return {"name": "skilled", "services": services, "agents": [ada]}


async def test_skills_are_named_in_the_instructions_and_read_when_needed(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    for name in ("tax-forms", "letters"):
        skill(tmp_path / "all", name)
    single = skill(tmp_path, "invoices")
    wanted = [
        {"skill": "tax-forms"},
        {"skill": "invoices", "file": "tables/rates.csv"},
        {"skill": "taxes"},
        {"skill": "letters", "file": "../../outside.txt"},
        {"skill": "letters", "file": "secret"},
    ]
    turn = [Reply(tool_calls=[ToolCall("skills-read", arguments) for arguments in wanted]), "Done."]
    with OpenAIServer(TeamBrain(rounds=[("Ada", "go")], agents={"Ada": turn})) as server:
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(team(server.base_url, ["all", "invoices"])))
        async with TeamFactory.from_yaml(tmp_path / "team.yaml") as factory:
            result = await factory.run("t", out=None)
    assert result.outcome == "satisfied", result.error
    first, second = (request for request in server.requests if request.who == "Ada")
    instructions = text_of(first.messages[0])
    assert instructions.startswith("Be exact.\n\nYou have skills")
    assert "- letters: How to letters; use it for { {braces}}." in instructions and "Step one" not in instructions
    listed = [line[2:].partition(":")[0] for line in instructions.splitlines() if line.startswith("- ")]
    assert listed == ["letters", "tax-forms", "invoices"]
    assert first.tool_names == ["skills-read"]
    results = [message for message in second.messages if message["role"] == "tool"]
    results.sort(key=lambda message: message["tool_call_id"])  # they come in the order in which they finish
    whole, table, unknown, above, link = map(text_of, results)
    assert "Step one: see [the table]" in whole and table == "a,1\n"
    assert "there is no skill 'taxes'" in unknown and "tax-forms" in unknown
    assert above.startswith("Error:") and link.startswith("Error:")
    assert "outside" not in (above + link).replace("outside.txt", "")
    assert single.name == "invoices" and result.record.participants["Ada"]["tools"] == ["skills.read"]


async def test_an_agent_without_instructions_still_knows_its_skills(tmp_path: Path) -> None:
    skill(tmp_path, "letters")
    with OpenAIServer(TeamBrain(rounds=[("Ada", "go")], agents={"Ada": "Done."})) as server:
        data = team(server.base_url, [str(tmp_path / "letters")])
        del data["agents"][0]["instructions"]
        async with TeamFactory.from_dict(data) as factory:
            await factory.run("t", out=None)
    assert any("- letters: How to letters" in text_of(m) for request in server.requests for m in request.messages)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# No front matter", "should begin with a front matter of name and description"),
        ("---\nname: [\n---\n", "cannot be read"),
        ("---\nname: Tax Forms\ndescription: d\n---\n", "needs a name of small letters, digits and hyphens"),
        ("---\nname: tax\n---\n", "needs a description"),
        (None, "there is no SKILL.md in it, nor in its folders"),
    ],
)
def test_what_is_no_skill_is_reported_with_its_place(text: str | None, problem: str, tmp_path: Path) -> None:
    (tmp_path / "tax").mkdir()
    if text is not None:
        (tmp_path / "tax" / "SKILL.md").write_text(text)
    (tmp_path / "team.yaml").write_text(yaml.safe_dump(team("http://127.0.0.1:9/v1", ["tax"])))
    with pytest.raises(ConfigError, match=problem) as caught:
        TeamFactory.from_yaml(tmp_path / "team.yaml")
    (found,) = caught.value.problems
    assert found.file == str(tmp_path / "team.yaml") and found.line and found.message.startswith("agent 'Ada'")


def test_two_skills_of_a_name_a_folder_that_is_not_there_and_a_plugin_of_the_name(tmp_path: Path) -> None:
    skill(tmp_path / "one", "tax")
    skill(tmp_path / "two", "tax")
    data = team("http://127.0.0.1:9/v1", ["one", "two", "three"], tools=[{"id": "skills.calculate"}])
    data["plugins"] = {"skills": {"type": "math"}}
    with pytest.raises(ConfigError) as caught:
        TeamFactory.from_dict(data, base_dir=tmp_path)
    told = str(caught.value)
    assert "there is no folder 'three'" in told and "reads its skills by a plugin 'skills'" in told
    data = team("http://127.0.0.1:9/v1", ["one", "two"])
    with pytest.raises(ConfigError, match="there are two skills called tax"):
        TeamFactory.from_dict(data, base_dir=tmp_path)


def test_a_review_may_name_the_function_of_skills(tmp_path: Path) -> None:
    skill(tmp_path, "tax")
    data = team("http://127.0.0.1:9/v1", ["tax"]) | {"review": {"tools": ["skills.*"]}}
    assert TeamFactory.from_dict(data, base_dir=tmp_path).blueprint.tools.repeatable("skills.read")
