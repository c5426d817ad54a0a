"""Options that a connector does not know are reported before anything is paid: all at once, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.openai_server import OpenAIServer
from support.real_servers import brain

from magentic_kit import TeamFactory
from magentic_kit.cli import app
from magentic_kit.errors import ConfigError

TEAM = """\
name: wrong
services:
  default:
    provider: openai
    model: m
    base_url: {url}
    options:
      temprature: 0.2
manager:
  options: {{max_token: 5}}
agents:
  - name: Ada
    description: Works.
    model:
      options:
        top_k: 5
        temperature: 0.1
  - {{name: Bob, description: Works., model: {{options: {{sed: 1}}}}}}
"""
EXPECTED = {8: "temprature", 10: "max_token", 16: "top_k", 18: "sed"}
NEAREST = ("temperature", "max_tokens", "top_p", "seed")


def team_file(folder: Path, url: str) -> Path:
    file = folder / "team.yaml"
    file.write_text(TEAM.format(url=url), "utf-8")
    return file


async def test_a_run_reports_every_unknown_option_and_sends_nothing(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        async with TeamFactory.from_yaml(team_file(tmp_path, server.base_url)) as factory:
            with pytest.raises(ConfigError) as caught:
                await factory.run("t", out=None)
        assert not server.requests
    assert {problem.line: problem.message.split("'")[1] for problem in caught.value.problems} == EXPECTED
    assert all(f"did you mean '{name}'?" in str(caught.value) for name in NEAREST)


def test_validate_reports_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = app.run(["validate", str(team_file(tmp_path, "http://127.0.0.1:9/v1"))])
    told = capsys.readouterr().err
    assert code == 2
    assert all(f"team.yaml:{line}:" in told and f"no option '{name}'" in told for line, name in EXPECTED.items())


@pytest.mark.parametrize("options", ["temperature: 0.2", "max_tokens: 10", "reasoning_effort: low"])
def test_validate_takes_options_that_the_connector_knows(
    options: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "team.yaml"
    service = f"{{provider: openai, model: m, options: {{{options}}}}}"
    file.write_text(f"name: t\nservices: {{default: {service}}}\nagents: [{{name: A, description: d}}]\n", "utf-8")
    assert app.run(["validate", str(file)]) == 0


VALUES = {
    "a word for a number": ("temperature: hot", "temperature"),
    "a number beyond its bounds": ("temperature: 7", "temperature"),
    "a list for a number": ("max_tokens: [10]", "max_tokens"),
    "a negative number of tokens": ("max_tokens: -1", "max_tokens"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_the_connector_does_not_take_is_reported_at_its_place(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option, key = VALUES[name]
    file = tmp_path / "team.yaml"
    agents = f"agents:\n  - name: A\n    description: d\n    model:\n      options:\n        {option}\n"
    file.write_text(f"name: t\nservices: {{default: {{provider: openai, model: m}}}}\n{agents}", "utf-8")
    assert app.run(["validate", str(file)]) == 2
    told = capsys.readouterr().err
    assert f"team.yaml:8:{9 + len(key) + 2}: OpenAIChatCompletion does not take this {key}: " in told


async def test_a_run_reports_wrong_values_and_sends_nothing(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        text = TEAM.format(url=server.base_url)
        for wrong, right in (("temprature: 0.2", "temperature: hot"), ("max_token: 5", "max_tokens: many"),
                             ("top_k: 5", "top_p: 5"), ("sed: 1", "seed: x")):  # fmt: skip
            text = text.replace(wrong, right)
        file = tmp_path / "team.yaml"
        file.write_text(text, "utf-8")
        async with TeamFactory.from_yaml(file) as factory:
            with pytest.raises(ConfigError) as caught:
                await factory.run("t", out=None)
        assert not server.requests
    assert [problem.line for problem in caught.value.problems] == [8, 10, 16, 18]
