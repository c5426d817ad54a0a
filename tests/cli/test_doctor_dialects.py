"""`doctor --live` sends the shapes that a team sends, and says what the server takes in another form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.openai_server import Reply, Request, error, ledger
from support.real_servers import (
    RealServer,
    call_delta,
    events,
    openai_words,
    roles_out_of_order,
    team,
    vllm_words,
    when,
)

from magentic_kit.cli import app


def answers(request: Request) -> Reply | str:
    if request.tools and not request.last_tool_results:
        return events(call_delta("numbers-add", '{"a": 1234, "b": 4321}', index=0, id="a"))
    return ledger("Ada", "go") if "is_request_satisfied" in str(request.messages[-1]) else "ready"


def doctor(server: RealServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    file = folder / "team.json"
    data = team(server.base_url)
    for agent in data["agents"]:
        agent["tools"] = [{"id": "math.calculate", "type": "function"}]
    data["plugins"] = {"math": {"type": "math"}}
    file.with_suffix(".yaml").write_text(json.dumps(data), "utf-8")
    code = app.run(["doctor", str(file.with_suffix(".yaml")), "--live"])
    return code, capsys.readouterr().out


SHAPES = {
    "roles that must alternate": (
        *(
            when(roles_out_of_order, vllm_words(400, "Conversation roles must alternate user/assistant")),
            "alternate_roles",
        ),
    ),
    "no names": (
        when(lambda r: any("name" in m for m in r.messages), openai_words(400, "property 'name' is unsupported")),
        "names_as_text",
    ),
    "no stream_options": (
        when(lambda r: r.stream_options, openai_words(400, "Unrecognized request argument supplied: stream_options")),
        "no_stream_options",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_dialect_is_found_and_advised(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusal, dialect = SHAPES[name]
    with RealServer(answers, refusal) as server:
        code, out = doctor(server, tmp_path, capsys)
    assert code == 0, out
    assert "dialect: [" in out and dialect in out


FAULTS = {
    "an overloaded server": (error(503, "overloaded"), "try again later"),
    "too many requests": (error(429, "slow down", retry_after=0), "try again later"),
    "a template that raises": (error(500, "Value is not callable: null at row 58"), "see the server's own log"),
    "no credit": (error(402, "Insufficient Balance"), "add credit"),
    "a model that is not there": (openai_words(404, "The model `m` does not exist"), "check the model's name"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_advice_is_what_may_help(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reply, advice = FAULTS[name]
    with RealServer(lambda request: reply) as server:
        code, out = doctor(server, tmp_path, capsys)
    assert code == 1 and advice in " ".join(out.split()), out


def test_a_model_that_writes_calls_as_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def texts(request: Request) -> Reply | str:
        if request.tools:
            return '<tool_call>{"name": "numbers-add", "arguments": {"a": 1, "b": 2}}</tool_call>'
        return answers(request)

    with RealServer(texts) as server:
        code, out = doctor(server, tmp_path, capsys)
    assert code != 0 and "writes calls as text" in out


def test_a_server_that_takes_everything_gets_no_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RealServer(answers) as server:
        code, out = doctor(server, tmp_path, capsys)
    assert code == 0 and "dialect" not in out
