"""A power cut at any moment, or a disk that fails or fills: nothing finished is paid again, no person's yes is lost."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from semantic_kernel.functions import kernel_function
from support import durable
from support.durable import MODEL_CALLS, TOOL_CALLS
from support.openai_server import OpenAIServer, Request
from support.power import watched

from magentic_kit import RunResult, TeamFactory
from magentic_kit import events as ev
from magentic_kit.errors import UnknownToolError
from magentic_kit.runlog.attachments import FOLDER, Attachments
from magentic_kit.runlog.reader import LOG, read_log
from magentic_kit.team.people import PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest

LINES = 50  # more than a log of this run has


@dataclass
class World:
    """What a run reaches outside of its log: paid requests, effects of functions, people who are asked."""

    paid: int = 0
    effects: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda what: None
    """Is told what is about to happen: a `request`, a `call`."""

    def answer(self, request: Request) -> Any:
        self.before("request")
        self.paid += 1
        return durable.brain(request)

    @kernel_function(description="Writes a note.")
    def add(self, text: str) -> str:
        self.before("call")
        self.effects.append(text)
        return f"noted {text}"

    def review_plan(self, request: PlanReviewRequest) -> PlanReview:
        self.asked.append("plan")
        return PlanReview.approve()

    def review_call(self, request: ToolReviewRequest) -> ToolReview:
        self.asked.append(str(request.arguments["text"]))
        return ToolReview.approve()

    @property
    def people(self) -> dict[str, Any]:
        return {"reviewer": self.review_plan, "approver": self.review_call}


@dataclass(frozen=True)
class Moment:
    """Just before something happens: what a power cut would leave of the run directory, and what had happened."""

    what: str
    left: dict[str, bytes]
    paid: int
    effects: list[str]
    asked: list[str]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[OpenAIServer]:
    with OpenAIServer(lambda request: world.answer(request)) as server:
        yield server


def team(server: OpenAIServer) -> dict[str, Any]:
    tools = [{"id": "notes.add"}]
    return {
        "name": "durable",
        "task": "Do it.",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": server.base_url}},
        "agents": [
            {"name": "Analyst", "description": "Looks.", "instructions": "Look.", "tools": tools},
            {"name": "Writer", "description": "Writes.", "instructions": "Write.", "tools": tools},
        ],
        "review": {"plan": True, "tools": ["notes.*"]},
        "report": {"formats": []},
    }


async def run(server: OpenAIServer, world: World, out: Path, **options: Any) -> RunResult:
    async with TeamFactory.from_dict(team(server), plugins={"notes": world}) as factory:
        return await factory.run(out=out, **world.people, **options)


async def resume(world: World, run_dir: Path, **options: Any) -> RunResult:
    async with TeamFactory.from_run(run_dir, plugins={"notes": world}) as factory:
        return await factory.resume(run_dir, **world.people, **options).result()


def restore(files: dict[str, bytes], directory: Path) -> Path:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


def unfinished(run_dir: Path) -> list[str]:
    """The notes whose calls the log has begun and not ended."""
    log = read_log(run_dir)[0]
    ended = {event.call for event in log if isinstance(event, ev.ToolCallFinished)}
    return [str(e.arguments["text"]) for e in log if isinstance(e, ev.ToolCallStarted) and e.call not in ended]


def answered(run_dir: Path) -> int:
    """How many answers of people the log has."""
    return sum(isinstance(event, ev.PlanReviewed | ev.ToolReviewed) for event in read_log(run_dir)[0])


async def test_what_a_run_went_on_from_outlasts_a_power_cut(tmp_path: Path, server: OpenAIServer, world: World) -> None:
    moments: list[Moment] = []

    def look(what: str) -> None:
        (run_dir,) = (tmp_path / "runs").iterdir()
        moments.append(Moment(what, disk.after_a_cut(run_dir), world.paid, [*world.effects], [*world.asked]))

    world.before = look
    with watched() as disk:
        assert (await run(server, world, tmp_path / "runs")).outcome == "satisfied"
    world.before = lambda what: None
    assert [moment.what for moment in moments].count("request") == MODEL_CALLS == world.paid
    assert [moment.what for moment in moments].count("call") == TOOL_CALLS
    people = len(world.asked)
    for number, moment in enumerate(moments):
        run_dir = restore(moment.left, tmp_path / "cut" / str(number))
        world.paid, world.effects, world.asked = moment.paid, [*moment.effects], [*moment.asked]
        begun, asked_again = unfinished(run_dir), len(moment.asked) - answered(run_dir)
        # Calls that an agent makes at once begin in any order: the yes to one may be on its way to the disk.
        assert asked_again <= (moment.what == "call"), "what a run went on from has been answered for good"
        assert bool(begun) is (moment.what == "call"), "what a request follows from has ended"
        if begun:  # each may have had its effect, so nothing is repeated before a person says so
            with pytest.raises(UnknownToolError):
                await resume(world, run_dir)
            assert (world.paid, world.effects) == (moment.paid, moment.effects)
        result = await resume(world, run_dir, unknown_tools={"*": None})
        assert (result.outcome, result.answer) == ("satisfied", "done: all checked"), number
        assert (world.paid, len(world.asked)) == (MODEL_CALLS, people + asked_again), number
        repeated = [text for text in begun if text in moment.effects]
        assert sorted(world.effects) == sorted(["one", "two", "three", *repeated]), number


def test_an_attachment_outlasts_a_power_cut_before_a_line_names_it(tmp_path: Path) -> None:
    with watched() as disk:
        sha256 = Attachments.beside(tmp_path).keep(b"a picture")
    assert disk.after_a_cut(tmp_path / FOLDER) == {sha256: b"a picture"}


@pytest.mark.slow
async def test_a_disk_that_fails_at_any_sync_loses_nothing_that_it_took(
    tmp_path: Path, server: OpenAIServer, world: World
) -> None:
    with watched() as whole:
        await run(server, world, tmp_path / "whole")
    for number in range(whole.syncs):
        world.paid, world.effects, world.asked = 0, [], []
        with watched(fails_at=number):
            result = await run(server, world, tmp_path / str(number))
        if result.outcome == "satisfied":  # the last one, after which nobody waits for anything
            assert number == whole.syncs - 1
            continue
        assert (result.outcome, result.reason) == ("failed", "log"), number
        assert result.run_dir is not None
        done = await resume(world, result.run_dir, unknown_tools={"*": None})
        assert (done.outcome, done.answer) == ("satisfied", "done: all checked"), number
        assert (world.paid, sorted(world.effects)) == (MODEL_CALLS, ["one", "three", "two"]), number
        assert world.asked.count("plan") == 1, number


async def test_a_disk_that_is_full_at_any_line_loses_no_more_than_that_line(
    tmp_path: Path, server: OpenAIServer, world: World
) -> None:
    for number in range(1, LINES, 4):
        room = 40 if number % 8 == 1 else 0  # how many bytes of the line still fit
        world.paid, world.effects, world.asked = 0, [], []

        def fill(event: ev.AnyEvent, number: int = number, room: int = room) -> None:
            if event.seq == number - 1:
                (run_dir,) = (tmp_path / str(number)).iterdir()
                most = (run_dir / LOG).stat().st_size + room
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        try:
            result = await run(server, world, tmp_path / str(number), sinks=[fill])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if result.outcome == "satisfied":
            return
        assert (result.outcome, result.reason) == ("failed", "log"), number
        assert result.run_dir is not None and len(read_log(result.run_dir)[0]) == number
        repeated = [text for text in unfinished(result.run_dir) if text in world.effects]
        done = await resume(world, result.run_dir, unknown_tools={"*": None})
        assert (done.outcome, done.answer) == ("satisfied", "done: all checked"), number
        assert MODEL_CALLS <= world.paid <= MODEL_CALLS + 1, number
        assert sorted(world.effects) == sorted(["one", "two", "three", *repeated]), number
    raise AssertionError("the log has more lines than were tried")
