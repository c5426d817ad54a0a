"""Answers as data: asked for in each tier, mended, asked for again, and told as failed with their text if none fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from semantic_kernel.agents import StandardMagenticManager
from semantic_kernel.agents.runtime import InProcessRuntime
from support.openai_server import Answer, OpenAIServer, Reply, Request, TeamBrain, error, text_of

from magentic_kit import ConfigError, Task, TeamFactory, run_batch
from magentic_kit.cli import app
from magentic_kit.orchestration.answer_format import AnswerFormat, is_strict


class Growth(BaseModel):
    region: str
    percent: float


SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string"}, "percent": {"type": "number"}},
    "required": ["region", "percent"],
    "additionalProperties": False,
}
GOOD = '{"region": "East", "percent": 39}'
VALUE = {"region": "East", "percent": 39}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("magentic_kit.orchestration.attempts._FIRST_WAIT", 0.01)


def brain(answer: Answer = GOOD) -> TeamBrain:
    return TeamBrain(rounds=[("Ada", "Look.")], agents={"Ada": "East, by 39 %."}, answer=answer)


def team(server: OpenAIServer, folder: Path | None = None, **changes: Any) -> dict[str, Any]:
    services = {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}}
    agents = [{"name": "Ada", "description": "Looks.", "instructions": "Look."}]
    data = {"name": "typed", "services": services, "agents": agents, "limits": {"retries": 0}, **changes}
    if folder is not None:
        (folder / "answer.schema.json").write_text(json.dumps(SCHEMA))
        data["answer"] = {"schema": str(folder / "answer.schema.json")}
    return data


def answers(server: OpenAIServer) -> list[Request]:
    return [
        request
        for request in server.requests
        if request.purpose == "answer" or "could not be used" in text_of(request.messages[-1])
    ]


def refuses(*kinds: str) -> Any:
    """Refuses a response format of these kinds."""

    def refuse(request: Request) -> Reply | None:
        return error(400, "response_format is not supported") if request.response_format.get("type") in kinds else None

    return refuse


@pytest.mark.parametrize(
    ("refused", "tier"),
    [((), "json_schema"), (("json_schema",), "json_object"), (("json_schema", "json_object"), None)],
)
async def test_an_answer_is_asked_for_in_the_strictest_way_that_the_server_takes(
    refused: tuple[str, ...], tier: str | None, tmp_path: Path
) -> None:
    usual = brain()
    with OpenAIServer(lambda request: refuses(*refused)(request) or usual(request)) as server:
        async with TeamFactory.from_dict(team(server, tmp_path)) as factory:
            result = await factory.run("t", out=None)
    assert (result.outcome, result.value) == ("satisfied", VALUE), result.error
    asked = answers(server)[-1]
    assert asked.response_format.get("type") == tier
    if tier == "json_schema":
        assert asked.response_format["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
    assert json.dumps(SCHEMA) in text_of(asked.messages[-1])
    assert len(answers(server)) == 1, "what a ledger showed to be refused is not tried again"


async def test_a_refusal_of_this_schema_alone_moves_on_to_the_next_tier(tmp_path: Path) -> None:
    def refuse(request: Request) -> Reply | None:
        schema = request.response_format.get("json_schema", {})
        return error(400, "invalid schema for response_format 'answer'") if schema.get("name") == "answer" else None

    usual = brain()
    with OpenAIServer(lambda request: refuse(request) or usual(request)) as server:
        async with TeamFactory.from_dict(team(server, tmp_path)) as factory:
            result = await factory.run("t", out=tmp_path)
            assert (result.outcome, result.value) == ("satisfied", VALUE), result.error
    assert [request.response_format["type"] for request in answers(server)] == ["json_schema", "json_object"]


@pytest.mark.parametrize(
    "written", [GOOD, f"Here it is:\n```json\n{GOOD}\n```", "{'region': 'East', 'percent': 39,}", f"So: {GOOD} is it."]
)
async def test_an_answer_is_read_as_models_write_it(written: str, tmp_path: Path) -> None:
    with OpenAIServer(brain(written)) as server:
        async with TeamFactory.from_dict(team(server, tmp_path)) as factory:
            result = await factory.run("t", out=tmp_path / "runs")
    assert (result.outcome, result.value, json.loads(result.answer)) == ("satisfied", VALUE, VALUE), result.error
    stored = json.loads((result.run_dir / "result.json").read_text())
    assert stored["value"] == VALUE
    assert "```\n{\n  &#34;region" not in (result.run_dir / "report.md").read_text()
    assert '"region": "East"' in (result.run_dir / "report.md").read_text()


@pytest.mark.parametrize("output_type", [Growth, list[Growth], SCHEMA])
async def test_a_type_of_python_gives_an_object_of_it(output_type: Any) -> None:
    written, value = GOOD, Growth(region="East", percent=39)
    if output_type == list[Growth]:
        written, value = f"[{GOOD}]", [value]
    elif output_type is SCHEMA:
        value = VALUE
    with OpenAIServer(brain(written)) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            result = await factory.run("t", out=None, output_type=output_type)
    assert result.value == value and type(result.value) is type(value)


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_what_is_wrong() -> None:
    with OpenAIServer(brain(['{"region": "East"}', "East.", GOOD])) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            result = await factory.run("t", out=None, output_type=Growth)
    assert result.value == Growth(region="East", percent=39)
    _, second, third = answers(server)
    assert "percent: Field required" in text_of(second.messages[-1])
    assert text_of(third.messages[-1]).startswith("That reply could not be used: the reply is no JSON")
    assert [fault.kind for fault in result.record.errors] == ["answer", "answer"]


async def test_an_answer_that_never_fits_ends_as_failed_with_its_text(tmp_path: Path) -> None:
    with OpenAIServer(brain("East, by far.")) as server:
        async with TeamFactory.from_dict(team(server, tmp_path)) as factory:
            result = await factory.run("t", out=tmp_path / "runs")
            again = await factory.resume(result.run_dir).result()
            asked = len(answers(server))
    assert (result.outcome, result.reason, result.answer, result.value) == ("failed", "answer", "East, by far.", None)
    assert result.error == {
        "kind": "answer",
        "message": "the answer fits its schema in none of 3 attempts: the reply is no JSON",
    }
    assert (again.outcome, again.reason, asked) == ("failed", "answer", 3), "nothing is paid again"


async def test_a_run_killed_between_two_answers_goes_on_with_the_second(tmp_path: Path) -> None:
    replies = ["East.", error(500, "down")]
    with OpenAIServer(brain(replies)) as server:
        async with TeamFactory.from_dict(team(server, tmp_path)) as factory:
            failed = await factory.run("t", out=tmp_path / "runs")
            server._brain = lambda request: GOOD
            asked = len(server.requests)
            result = await factory.resume(failed.run_dir).result()
    assert (failed.outcome, failed.reason) == ("failed", "service")
    assert (result.outcome, result.value, len(server.requests)) == ("satisfied", VALUE, asked + 1)


async def test_after_a_limit_an_answer_that_does_not_fit_is_better_than_none() -> None:
    with OpenAIServer(brain("East, it seems.")) as server:
        async with TeamFactory.from_dict(team(server, manager={"max_rounds": 1})) as factory:
            server._brain.rounds = [("Ada", "1"), ("Ada", "2")]  # type: ignore[attr-defined]
            server._brain.on("manager", "answer", None, "East, it seems.")  # type: ignore[attr-defined]
            result = await factory.run("t", out=None, output_type=Growth)
    assert (result.outcome, result.reason, result.answer, result.value) == (
        "limited",
        "max_rounds",
        "East, it seems.",
        None,
    )
    assert any("fits its schema in none" in note for note in result.notes)


async def test_a_manager_of_ones_own_gives_data_too() -> None:
    def answer(request: Request) -> str | None:
        return GOOD if "Put this answer into JSON" in text_of(request.messages[-1]) else None

    usual = brain("East, by 39 %.")
    with OpenAIServer(lambda request: answer(request) or usual(request)) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            result = await factory.run("t", out=None, output_type=Growth, manager=StandardMagenticManager)
    assert (result.outcome, result.value) == ("satisfied", Growth(region="East", percent=39)), result.error


async def test_an_orchestration_of_ones_own_runtime_gives_the_object() -> None:
    runtime = InProcessRuntime()
    runtime.start()
    with OpenAIServer(brain()) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            orchestration = factory.create_orchestration(output_type=Growth)
            value = await (await orchestration.invoke("t", runtime)).get(60)
    await runtime.stop_when_idle()
    assert value == Growth(region="East", percent=39)


async def test_what_is_no_type_is_refused() -> None:
    with OpenAIServer(brain()) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            with pytest.raises(TypeError, match="output_type takes a pydantic model"):
                await factory.run("t", out=None, output_type=lambda: 1)
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[1]", "answer.schema should be a JSON Schema"),
        ('{"type": "objekt"}', "answer.schema is no JSON Schema"),
        ("{", "answer.schema cannot be read"),
        (None, "there is no file"),
    ],
)
def test_a_schema_that_is_none_is_reported_with_its_place(content: str | None, problem: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "answer.json").write_text(content)
    data = {
        "name": "t",
        "services": {"default": {"provider": "scripted", "script": {}}},
        "answer": {"schema": "answer.json"},
    }
    data["agents"] = [{"name": "A", "description": "d"}]
    (tmp_path / "team.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=problem) as caught:
        TeamFactory.from_yaml(tmp_path / "team.yaml")
    assert len(caught.value.problems) == 1 and caught.value.problems[0].line


async def test_checks_of_a_batch_ask_for_fields(tmp_path: Path) -> None:
    nested = '{"best": [{"region": "East"}], "sure": true}'
    tasks = [
        Task.read({"id": "good", "task": "t", "expect": {"fields": {"best.0.region": "East", "sure": True}}}),
        Task.read({"id": "bad", "task": "t", "expect": {"fields": {"best.0.region": "West", "sure": 1, "worst": "x"}}}),
    ]
    with OpenAIServer(brain(nested)) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            done = {
                d.id: d
                async for d in run_batch(factory, tasks, out=tmp_path, concurrency=1, output_type={"type": "object"})
            }
            untyped = [d async for d in run_batch(factory, tasks[:1], out=tmp_path)]
    assert done["good"].passed and not done["bad"].passed
    assert (
        done["bad"].checks[0].problem
        == "best.0.region is 'East', not 'West'; sure is true, not 1; the answer has no worst"
    )
    assert "give the team a schema" in untyped[0].checks[0].problem


def test_json_of_the_command_line_has_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with OpenAIServer(brain()) as server:
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(team(server, tmp_path)))
        assert app.run(["run", "team.yaml", "t", "--json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["value"] == VALUE
        assert app.run(["run", "team.yaml", "t", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == VALUE


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (SCHEMA, True),
        ({**SCHEMA, "required": ["region"]}, False),
        ({"type": "object", "properties": {}}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
        ({"type": "array", "items": SCHEMA}, True),
        (Growth.model_json_schema(), False),
    ],
)
def test_only_closed_schemas_are_asked_for_strictly(schema: Any, strict: bool) -> None:
    assert is_strict(schema) is strict


def test_of_several_objects_in_prose_the_last_that_fits_is_taken() -> None:
    form = AnswerFormat(SCHEMA)
    assert form.data_of(f'First I thought {{"region": "West", "percent": 1}}, but it is {GOOD}.') == VALUE
