"""A task with images and files: it reaches every wire format unchanged, is kept once, and survives a resume."""

from __future__ import annotations

import base64
import json
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.contents import AudioContent, ChatMessageContent, ImageContent, TextContent
from semantic_kernel.contents.utils.author_role import AuthorRole
from semantic_kernel.functions import kernel_function
from support.openai_server import OpenAIServer, Reply, Request, TeamBrain, ToolCall, error, text_of
from support.real_servers import team as real_team

from magentic_kit import ConfigError, JournalError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.cli import app
from magentic_kit.runlog.attachments import Attachments, RunFolder
from magentic_kit.runlog.reader import read_log


def png(colour: bytes = b"\x00") -> bytes:
    """A picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\x00" + colour))
        + chunk(b"IEND", b"")
    )


IMAGE = png()
DATA_URI = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setattr("magentic_kit.orchestration.attempts._FIRST_WAIT", 0.01)


def message(text: str = "What is in it?", **image: Any) -> ChatMessageContent:
    content = ImageContent(**(image or {"data": IMAGE, "mime_type": "image/png"}))
    return ChatMessageContent(role=AuthorRole.USER, items=[TextContent(text=text), content])


def images(request: Request) -> list[str]:
    """The addresses of the images in a request, as OpenAI has them."""
    parts = [part for m in request.messages if isinstance(m.get("content"), list) for part in m["content"]]
    return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


def brain(**changes: Any) -> TeamBrain:
    return TeamBrain(rounds=[("Ada", "Look.")], agents={"Ada": "A dot."}, **changes)


def team(server: OpenAIServer, **changes: Any) -> dict[str, Any]:
    return real_team(server.base_url, names=("Ada",), **changes)


async def run(server: OpenAIServer, task: Any, **options: Any) -> Any:
    async with TeamFactory.from_dict(
        team(server, **options.pop("team", {})), plugins=options.pop("plugins", {})
    ) as factory:
        return await factory.run(task, out=options.pop("out", None), **options)


@pytest.mark.parametrize(
    "task", [message(), [message("Look at this."), ChatMessageContent(role=AuthorRole.USER, content="And?")]]
)
async def test_an_image_reaches_manager_and_agents_once_a_request(task: Any) -> None:
    with OpenAIServer(brain()) as server:
        result = await run(server, task)
    assert result.outcome == "satisfied", result.error
    assert {request.who for request in server.requests} == {"manager", "Ada"}
    assert [images(request) for request in server.requests] == [[DATA_URI]] * len(server.requests)


async def test_an_image_by_its_address_goes_on_as_that() -> None:
    with OpenAIServer(brain()) as server:
        assert (await run(server, message(uri="https://example.org/a.png"))).outcome == "satisfied"
    assert {*map(tuple, map(images, server.requests))} == {("https://example.org/a.png",)}


async def test_what_a_connector_cannot_take_is_refused_before_anything_is_sent() -> None:
    sound = ChatMessageContent(
        role=AuthorRole.USER, items=[TextContent(text="?"), AudioContent(data=b"RIFF", mime_type="audio/wav")]
    )
    with OpenAIServer(brain()) as server:
        with pytest.raises(ConfigError, match=r"the service 'default' cannot be sent this audio \(audio/wav\)"):
            await run(server, sound)
        with pytest.raises(TypeError, match="a task is a text"):
            await run(server, {"task": "t"})
    assert server.requests == []


async def test_contents_are_kept_once_beside_the_log_and_come_back_on_resume(tmp_path: Path) -> None:
    answers = brain().on("Ada", "turn", 0, error(400, "no"))
    with OpenAIServer(answers) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            failed = await factory.run(message(), out=tmp_path)
            assert failed.outcome == "failed" and failed.run_dir
            (kept,) = (failed.run_dir / "attachments").iterdir()
            assert kept.read_bytes() == IMAGE and stat.S_IMODE(kept.stat().st_mode) == 0o600
            asked = len(server.requests)
            result = await factory.resume(failed.run_dir).result()
    assert result.outcome == "satisfied", result.error
    assert all(images(request) == [DATA_URI] for request in server.requests[asked:])
    assert len(server.requests) == asked + 3, "the turn again, then ledger and answer"
    log = (failed.run_dir / "events.jsonl").read_text()
    assert base64.b64encode(IMAGE).decode() not in log and log.count(kept.name) >= 1


async def test_a_changed_content_ends_a_resume_in_words(tmp_path: Path) -> None:
    with OpenAIServer(brain().on("Ada", "turn", None, error(400, "no"))) as server:
        async with TeamFactory.from_dict(team(server)) as factory:
            failed = await factory.run(message(), out=tmp_path)
            (kept,) = (failed.run_dir / "attachments").iterdir()
            kept.write_bytes(png(b"\xff"))
            with pytest.raises(JournalError, match=r"attachment .* was changed"):
                factory.resume(failed.run_dir)


@pytest.mark.parametrize("sha256", ["../../secret", "/etc/hostname", "0" * 64])
def test_a_log_that_somebody_made_names_no_other_file(sha256: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    attachments = Attachments()
    attachments.log = RunFolder(tmp_path / "run")
    with pytest.raises(JournalError):
        attachments.read(sha256)


async def test_files_go_with_a_task_images_as_images_and_texts_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "dot.dat").write_bytes(IMAGE)
    (tmp_path / "notes.txt").write_text("The dot is black.")
    (tmp_path / "paper.pdf").write_bytes(pdf("Dots in general"))
    with OpenAIServer(brain()) as server:
        files = [tmp_path / name for name in ("dot.dat", "notes.txt", "paper.pdf")]
        result = await run(server, "What is in it?", attach=files)
    assert result.outcome == "satisfied", result.error
    assert result.record.task == "What is in it?"
    assert [a["name"] for a in result.record.attachments] == ["dot.dat", "notes.txt", "paper.pdf"]
    for request in server.requests:
        said = "\n".join(map(text_of, request.messages))
        assert images(request) == [DATA_URI]
        assert said.count("The file notes.txt:\n\nThe dot is black.") == 1
        assert said.count("The file paper.pdf:\n\nDots in general") == 1


def pdf(text: str) -> bytes:
    """A PDF with a line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    ]
    whole, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(whole))
        whole += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    trailer = f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(whole)}\n%%EOF"
    return f"{whole}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("gone.txt", None, "cannot be attached: No such file"),
        ("sheet.xlsx", b"PK\x03\x04\x00\xff", "it is no text in UTF-8, no PDF, and no PNG"),
        ("latin.txt", "é".encode("latin-1"), "it is no text in UTF-8"),
        ("empty.txt", b" \n", "there is no text in it"),
        ("broken.pdf", b"%PDF-1.4 nothing", "this PDF cannot be read"),
        ("long.txt", b"x" * 1_000_001, "more than 1,000,000"),
    ],
)
async def test_a_file_that_cannot_go_with_a_task_is_refused(
    name: str, content: bytes | None, problem: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with OpenAIServer(brain()) as server, pytest.raises(ConfigError, match=problem) as caught:
        await run(server, "t", attach=[tmp_path / name], out=tmp_path / "runs")
    assert str(caught.value).startswith(str(tmp_path / name))
    assert not server.requests and not (tmp_path / "runs").exists()


class Camera:
    """A plugin whose functions return images."""

    @kernel_function(description="Takes a picture.")
    def shoot(self) -> ImageContent:
        return ImageContent(data=IMAGE, data_format="base64", mime_type="image/png")

    @kernel_function(description="Takes a picture and says so.")
    def describe(self) -> list[Any]:
        return [TextContent(text="a dot"), self.shoot()]


async def test_images_of_functions_stand_behind_their_results_and_come_back_on_resume(tmp_path: Path) -> None:
    turn = [Reply(tool_calls=[ToolCall("camera-shoot"), ToolCall("camera-describe")]), error(400, "no"), "Two dots."]
    with OpenAIServer(TeamBrain(rounds=[("Ada", "Look.")], agents={"Ada": turn})) as server:
        made = team(server)
        made["agents"][0]["tools"] = [{"id": "camera.*"}]
        async with TeamFactory.from_dict(made, plugins={"camera": Camera()}) as factory:
            failed = await factory.run("t", out=tmp_path)
            result = await factory.resume(failed.run_dir).result()
    assert (failed.outcome, result.outcome) == ("failed", "satisfied"), result.error
    for request in [request for request in server.requests if request.who == "Ada"][1:]:
        *_, assistant, one, other, behind = request.messages
        roles = [message["role"] for message in (assistant, one, other, behind)]
        assert roles == ["assistant", "tool", "tool", "user"]
        # Results come in the order in which their calls finish.
        first, second = sorted((one, other), key=lambda message: message["tool_call_id"])
        assert "[image/png, " in text_of(first) and text_of(second).startswith("a dot\n[image/png, ")
        assert images(request) == [DATA_URI] * 2
        assert text_of(behind) == "What camera.shoot, camera.describe returned besides text:"
    finished = [event for event in read_log(failed.run_dir)[0] if isinstance(event, ev.ToolCallFinished)]
    assert [len(event.attachments) for event in finished] == [1, 1]
    assert len([*(failed.run_dir / "attachments").iterdir()]) == 1, "the same content once"


async def test_a_run_that_reuses_another_s_steps_has_the_images_of_its_functions(tmp_path: Path) -> None:
    turn = [Reply(tool_calls=[ToolCall("camera-shoot")]), "A dot."]
    with OpenAIServer(TeamBrain(rounds=[("Ada", "Look.")], agents={"Ada": turn})) as server:
        made = team(server)
        made["agents"][0]["tools"] = [{"id": "camera.*"}]
        async with TeamFactory.from_dict(made, plugins={"camera": Camera()}) as factory:
            first = await factory.run("t", out=tmp_path)
            asked = len(server.requests)
            second = await factory.run("t", out=tmp_path, reuse=first.run_dir)
    assert (second.outcome, len(server.requests)) == ("satisfied", asked), "nothing is paid again"
    assert [path.read_bytes() for path in (second.run_dir / "attachments").iterdir()] == [IMAGE]


async def test_a_member_team_gets_what_goes_with_the_task(tmp_path: Path) -> None:
    with OpenAIServer(brain()) as server:
        (tmp_path / "inner.yaml").write_text(json.dumps(team(server)))
        outer = team(server)
        outer["agents"].append(
            {"name": "Inner", "description": "d", "type": "team", "team": str(tmp_path / "inner.yaml")}
        )
        answers = TeamBrain(rounds=[("Inner", "Look.")], agents={"Ada": "A dot."})
        server._brain = lambda request: (answers if request.task == "Look at it" else brain())(request)
        async with TeamFactory.from_dict(outer) as factory:
            result = await factory.run(message("Look at it"), out=tmp_path / "runs")
    assert result.outcome == "satisfied", result.error
    inner = [request for request in server.requests if request.task != "Look at it"]
    assert inner and all(images(request) == [DATA_URI] for request in inner)


def test_attach_of_the_command_line_and_of_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "dot.png").write_bytes(IMAGE)
    (tmp_path / "work" / "dot.png").write_bytes(IMAGE)
    with OpenAIServer(brain()) as server:
        (tmp_path / "team.yaml").write_text(json.dumps(team(server)))
        assert app.run(["run", "team.yaml", "What is it?", "--attach", "dot.png", "--quiet"]) == 0
        tasks = tmp_path / "work" / "tasks.jsonl"
        tasks.write_text('{"task": "What is it?", "attach": ["gone.png"]}\n')
        with pytest.raises(ConfigError, match=r"tasks.jsonl:1:1: attach: there is no file 'gone.png'"):
            app.run(["batch", "team.yaml", str(tasks), "--plain"])
        tasks.write_text('{"task": "And this?", "attach": ["dot.png"]}\n')
        assert app.run(["batch", "team.yaml", str(tasks), "--plain"]) == 0
    assert {*map(tuple, map(images, server.requests))} == {(DATA_URI,)}
    assert {request.task for request in server.requests} == {"What is it?", "And this?"}
