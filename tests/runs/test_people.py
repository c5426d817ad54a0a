"""People in charge: plan review, tool approval, plans made first, a person as a team member."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest
import yaml
from semantic_kernel.functions import kernel_function
from support.openai_server import OpenAIServer, Reply, TeamBrain, ToolCall, ledger

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.runlog import control
from magentic_kit.team.people import HumanTurn, PlanReview, PlanReviewRequest, ToolReview, ToolReviewRequest
from magentic_kit.team.plan import TaskLedger

COMMAND = [sys.executable, "-m", "magentic_kit"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")


class Store:
    """Two functions with an effect that can be seen."""

    def __init__(self) -> None:
        self.orders: list[str] = []

    @kernel_function(description="Orders an item.")
    def order(self, item: str) -> str:
        self.orders.append(item)
        return f"ordered {item}"

    @kernel_function(description="Burns the store down.")
    def burn(self) -> str:
        self.orders.append("burnt")
        return "burnt"


def team(base_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "people",
        "services": {"default": {"provider": "openai", "model": "m", "base_url": base_url}},
        "agents": [
            {"name": "Buyer", "description": "Buys.", "instructions": "Buy.", "tools": [{"id": "store.order"}]},
            {"name": "Clerk", "description": "Writes.", "instructions": "Write.", "tools": [{"id": "store.burn"}]},
        ],
        **changes,
    }


def buying(*calls: ToolCall, times: int = 1) -> TeamBrain:
    """The Buyer asks for these calls in each of its turns, and then tells what came of them."""
    turn = [Reply("I try.", tool_calls=list(calls)), lambda request: " | ".join(request.last_tool_results)]
    return TeamBrain(rounds=[("Buyer", "buy")] * times, agents={"Buyer": turn * times}, plan="buy it", answer="done")


ORDER = ToolCall("store-order", {"item": "lamp"})
REVIEW: dict[str, Any] = {"review": {"tools": ["store.*"]}}


async def run(brain: TeamBrain, store: Store, options: dict[str, Any], **changes: Any) -> tuple[Any, OpenAIServer]:
    with OpenAIServer(brain) as server:
        async with TeamFactory.from_dict(team(server.base_url, **changes), plugins={"store": store}) as factory:
            return await factory.run("t", out=None, **options), server


# -- tools


@pytest.mark.parametrize("name", ["store-burn", "store-nothing", "nonsense", "store-order-now"])
async def test_a_function_that_is_not_offered_is_never_reached(name: str) -> None:
    store = Store()
    result, _ = await run(buying(ToolCall(name, {})), store, {})
    assert (result.outcome, store.orders) == ("satisfied", [])
    (call,) = result.record.tool_calls
    assert (call.status, call.function) == ("denied", name)
    assert "not part of the provided tools" in result.record.turns[0].text


@pytest.mark.parametrize(
    ("review", "times", "orders", "heard"),
    [
        (ToolReview.approve(), 2, ["lamp", "lamp"], "ordered lamp"),
        (ToolReview.approve_for_run(), 2, ["lamp", "lamp"], "ordered lamp"),
        (ToolReview.deny("too dear"), 1, [], "Denied: too dear"),
        (None, 1, [], "Denied: nobody is there to approve this call"),
    ],
)
async def test_a_reviewed_function_needs_a_yes(
    review: ToolReview | None, times: int, orders: list[str], heard: str
) -> None:
    asked: list[ToolReviewRequest] = []

    async def approver(request: ToolReviewRequest) -> ToolReview:
        asked.append(request)
        assert review is not None
        return review

    store = Store()
    options = {"approver": approver} if review else {}
    result, _ = await run(buying(ORDER, times=times), store, options, **REVIEW)
    assert (result.outcome, store.orders) == ("satisfied", orders)
    assert heard in result.record.turns[0].text
    assert len(asked) == (0 if review is None else 1 if review.decision == "approve_for_run" else times)
    if asked:
        assert asked[0] == ToolReviewRequest(agent="Buyer", function="store.order", arguments={"item": "lamp"})


async def test_a_long_result_is_cut_for_the_model_and_whole_in_the_log() -> None:
    store = Store()
    item = "x" * 500
    result, _ = await run(buying(ToolCall("store-order", {"item": item})), store, {}, limits={"result_chars": 100})
    heard = result.record.turns[0].text
    assert "[cut here: the result has 508 characters]" in heard and "x" * 101 not in heard
    assert result.record.tool_calls[0].result == f"ordered {item}"


# -- plans


async def test_a_plan_is_revised_until_it_is_approved() -> None:
    requests: list[PlanReviewRequest] = []
    answers = [PlanReview.revise("cheaper"), PlanReview.revise("greener"), PlanReview.approve()]

    def reviewer(request: PlanReviewRequest) -> PlanReview:
        requests.append(request)
        return answers[len(requests) - 1]

    brain = buying(ORDER)

    def answer(request: Any) -> Any:
        last = str(request.messages[-1])
        if "The plan was reviewed" not in last:
            return brain(request)
        return "greener plan" if "greener" in last else "cheaper plan"

    result, server = await run(answer, Store(), {"reviewer": reviewer}, review={"plan": True})  # type: ignore[arg-type]
    assert result.outcome == "satisfied"
    assert [request.plan for request in requests] == ["buy it", "cheaper plan", "greener plan"]
    assert [request.revision for request in requests] == [1, 2, 3]
    turn = next(request for request in server.requests if request.purpose == "turn")
    assert "greener plan" in str(turn.messages) and "buy it" not in str(turn.messages)
    assert result.resets == 0, "a revision is no reset"


async def test_the_time_that_a_person_takes_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    late = [0.0]
    monkeypatch.setattr(control, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))

    def slow(request: PlanReviewRequest) -> PlanReview:
        late[0] += 24 * 3600
        return PlanReview.approve()

    limits = {"deadline": "1h"}
    result, _ = await run(buying(ORDER), Store(), {"reviewer": slow}, review={"plan": True}, limits=limits)
    assert result.outcome == "satisfied" and result.seconds < 3600


async def test_a_rejected_plan_ends_the_run() -> None:
    result, server = await run(
        buying(ORDER), Store(), {"reviewer": lambda _: PlanReview.reject("no money")}, review={"plan": True}
    )
    assert (result.outcome, result.reason) == ("rejected", "no money")
    assert {request.purpose for request in server.requests} == {"facts", "plan"}


async def test_a_plan_after_a_stall_is_reviewed_with_the_ledger_that_told_of_it() -> None:
    seen: list[PlanReviewRequest] = []

    def reviewer(request: PlanReviewRequest) -> PlanReview:
        seen.append(request)
        return PlanReview.approve()

    stuck = [ledger("Buyer", "again", progress=False)] * 2
    brain = buying(ORDER).on("manager", "ledger", 0, stuck[0]).on("manager", "ledger", 1, stuck[1])
    result, _ = await run(brain, Store(), {"reviewer": reviewer}, review={"plan": True}, manager={"max_stalls": 1})
    assert [request.is_stalled for request in seen] == [False, True]
    assert seen[1].progress is not None and seen[1].progress.is_progress_being_made.answer is False
    assert (result.outcome, result.resets) == ("satisfied", 1)


async def test_plan_review_without_a_person_is_refused_before_anything_is_sent() -> None:
    with OpenAIServer(buying(ORDER)) as server:
        async with TeamFactory.from_dict(
            team(server.base_url, review={"plan": True}), plugins={"store": Store()}
        ) as factory:
            with pytest.raises(ConfigError, match="asks for a person"):
                factory.start("t", out=None)
        assert not server.requests


async def test_a_plan_made_first_is_carried_out_as_edited(tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        async with TeamFactory.from_dict(team(server.base_url), plugins={"store": Store()}) as factory:
            made = await factory.plan("Buy <a> lamp")
            assert [request.purpose for request in server.requests] == ["facts", "plan"]
            text = made.to_markdown(team="people", members={"Buyer": "Buys."})
            edited = TaskLedger.from_markdown(text.replace("buy it", "steal it & run"), file="plan.md")
            result = await factory.run(plan=edited, out=None)
        assert result.outcome == "satisfied"
        later = server.requests[2:]
        assert not {"facts", "plan"} & {request.purpose for request in later}
        assert "steal it & run" in str(later[0].messages) and "Buy <a> lamp" in str(later[0].messages)


@pytest.mark.parametrize(
    "text", ["plain", "## Plan\nfaked heading", "\\## Facts\ntwice", "# other\n\n## Unknown\n- a\n\n```\n## Task\n```"]
)
def test_a_plan_file_says_what_it_was_given_whatever_that_is(text: str) -> None:
    made = TaskLedger(task=text, facts=text, plan=text)
    assert TaskLedger.from_markdown(made.to_markdown(team="t", members={"A": text}), file="f") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plan.md: the section '## Task' is missing or empty"),
        ("## Task\nt\n## Facts\nf\n", "plan.md: the section '## Plan' is missing or empty"),
        ("## Task\nt\n## Facts\nf\n## Plan\n\n", "plan.md: the section '## Plan' is missing or empty"),
        ("## Task\nt\n## Facts\nf\n## Plan\np\n## Plan\nq\n", "plan.md: the section '## Plan' is there twice"),
    ],
)
def test_a_plan_file_that_lacks_something_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TaskLedger.from_markdown(text, file="plan.md")
    assert str(caught.value) == message


# -- a person as a team member


async def test_a_person_speaks_as_a_team_member() -> None:
    turns: list[HumanTurn] = []

    async def speak(turn: HumanTurn) -> str:
        turns.append(turn)
        return "Blue, says the boss."

    boss = {"type": "human", "name": "Boss", "description": "Decides.", "instructions": "Decide on {{$what}}."}
    brain = TeamBrain(rounds=[("Boss", "Which colour?"), ("Clerk", "note")], agents={"Clerk": ["noted"]}, answer="blue")
    with OpenAIServer(brain) as server:
        data = team(server.base_url, inputs={"what": "colours"})
        data["agents"].append(boss)
        async with TeamFactory.from_dict(data, plugins={"store": Store()}) as factory:
            result = await factory.run("t", out=None, humans={"Boss": speak})
        assert result.outcome == "satisfied"
        assert "Blue, says the boss." in str(server.requests[-1].messages)
    assert turns[0].name == "Boss" and turns[0].instructions == "Decide on colours."
    assert turns[0].heard[-1][1] == "Which colour?"
    assert result.record.usage["Boss"]["prompt_tokens"] == 0


# -- at a terminal

PLUGIN = """
import pathlib
from semantic_kernel.functions import kernel_function

class Store:
    @kernel_function(description="Orders an item.")
    def order(self, item: str) -> str:
        with pathlib.Path("orders").open("a") as file:
            file.write(item + "\\n")
        return "ordered " + item

    @kernel_function(description="Burns.")
    def burn(self) -> str:
        return "burnt"
"""


def write_team(folder: Path, base_url: str, **changes: Any) -> Path:
    (folder / "store.py").write_text(PLUGIN)
    data = team(base_url, plugins={"store": {"type": "python", "target": "store:Store"}}, **changes)
    (folder / "team.yaml").write_text(yaml.safe_dump(data))
    return folder / "team.yaml"


def spawn(folder: Path, *args: str) -> pexpect.spawn:
    env = {**os.environ, "TERM": "xterm-256color"}
    return pexpect.spawn(COMMAND[0], [*COMMAND[1:], *args], cwd=folder, env=env, timeout=180, encoding="utf-8")


def orders(folder: Path) -> list[str]:
    return (folder / "orders").read_text().split() if (folder / "orders").exists() else []


def test_plan_and_tools_are_reviewed_at_a_terminal(tmp_path: Path) -> None:
    brain = buying(ORDER, times=2)

    def answer(request: Any) -> Any:
        last = str(request.messages[-1])
        if "The plan was reviewed" not in last:
            return brain(request)
        return "the greener way" if "greener" in last else "the cheaper way"

    with OpenAIServer(answer) as server:
        write_team(tmp_path, server.base_url, review={"plan": True, "tools": ["store.order"]})
        child = spawn(tmp_path, "run", "team.yaml", "t")
        for words, plan in (("r cheaper", "the cheaper way"), ("revise greener", "the greener way")):
            child.expect_exact("[a]pprove, [r]evise and how, re[j]ect and why: \r\n> ")
            child.sendline(words)
            child.expect_exact(plan)
        child.expect_exact("[a]pprove, [r]evise and how, re[j]ect and why: \r\n> ")
        child.sendline("a")
        child.expect_exact('Buyer wants to call store.order:\r\n  │ item: "lamp"\r\n')
        child.expect_exact("[y]es, [a]lways in this run, [n]o and why: \r\n> ")
        child.sendline("n too dear")
        child.expect_exact("[y]es, [a]lways in this run, [n]o and why: \r\n> ")
        child.sendline("y")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        assert orders(tmp_path) == ["lamp"]
        assert "Denied: too dear" in str(server.requests[-1].messages)


@pytest.mark.parametrize("flag", ["--quiet", "--jsonl"])
def test_a_plan_that_nobody_has_seen_is_in_the_question(flag: str, tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        write_team(tmp_path, server.base_url)
        line = f"{shlex.join(COMMAND)} run team.yaml t --review-plan {flag} > events"
        child = pexpect.spawn("sh", ["-c", line], cwd=tmp_path, timeout=180, encoding="utf-8")
        child.expect_exact("[a]pprove")
        assert "buy it" in child.before
        child.expect_exact("\r\n> ")
        child.sendline("j")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 3


def test_a_plan_is_rejected_at_a_terminal(tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        write_team(tmp_path, server.base_url)
        child = spawn(tmp_path, "run", "team.yaml", "t", "--review-plan")
        child.expect_exact("re[j]ect and why: \r\n> ")
        child.sendline("j not now")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 3 and orders(tmp_path) == []


def test_ctrl_c_ends_a_question(tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        write_team(tmp_path, server.base_url)
        child = spawn(tmp_path, "run", "team.yaml", "t", "--review-plan")
        child.expect_exact("re[j]ect and why: \r\n> ")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 130


@pytest.mark.parametrize(
    ("flags", "code", "ordered"),
    [
        ((), 2, []),
        (("--approve-plan",), 0, []),
        (("--approve-plan", "--approve", "store.*"), 0, ["lamp"]),
    ],
)
def test_without_a_terminal_flags_decide(flags: tuple[str, ...], code: int, ordered: list[str], tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        write_team(tmp_path, server.base_url, review={"plan": True, "tools": ["store.order"]})
        done = subprocess.run(
            [*COMMAND, "run", "team.yaml", "t", *flags],
            cwd=tmp_path, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert orders(tmp_path) == ordered
        if code == 2:
            assert "review.plan" in done.stderr and not server.requests


@pytest.mark.slow
def test_plan_edit_and_run_from_the_command_line(tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER)) as server:
        write_team(tmp_path, server.base_url)
        for args in (["plan", "team.yaml", "Buy <a> lamp"], ["run", "team.yaml", "--plan", "plan.md", "--quiet"]):
            done = subprocess.run([*COMMAND, *args], cwd=tmp_path, capture_output=True, text=True, timeout=180)
            assert done.returncode == 0, done.stderr
            path = tmp_path / "plan.md"
            path.write_text(path.read_text().replace("buy it", "buy two"))
        assert done.stdout == "done\n"
        assert [r.purpose for r in server.requests].count("plan") == 1
        assert "buy two" in str(server.requests[2].messages)


def test_a_person_speaks_at_a_terminal(tmp_path: Path) -> None:
    brain = TeamBrain(rounds=[("Boss", "Which colour?")], agents={}, answer="blue")
    with OpenAIServer(brain) as server:
        data = team(server.base_url)
        data["agents"] = [{"type": "human", "name": "Boss", "description": "Decides."}]
        (tmp_path / "team.yaml").write_text(yaml.safe_dump(data))
        child = spawn(tmp_path, "run", "team.yaml", "t")
        child.expect_exact("Which colour?")
        child.expect_exact("Boss, it is your turn:\r\n> ")
        child.sendline("Blue.")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        assert "Blue." in str(server.requests[-1].messages)


async def test_reviews_are_not_asked_again_on_resume(tmp_path: Path) -> None:
    asked: list[Any] = []

    def reviewer(request: Any) -> PlanReview:
        asked.append(request)
        return PlanReview.approve()

    def approver(request: Any) -> ToolReview:
        asked.append(request)
        return ToolReview.approve()

    options: dict[str, Any] = {"reviewer": reviewer, "approver": approver}
    with OpenAIServer(buying(ORDER, times=2)) as server:
        data = team(server.base_url, review={"plan": True, "tools": ["store.*"]}, manager={"max_rounds": 1})
        store = Store()
        async with TeamFactory.from_dict(data, plugins={"store": store}) as factory:
            first = await factory.run("t", out=tmp_path, **options)
        assert (first.outcome, len(asked)) == ("limited", 2)
        data["manager"] = {"max_rounds": 5}
        async with TeamFactory.from_dict(data, plugins={"store": store}) as factory:
            again = await factory.resume(first.run_dir, **options).result()  # type: ignore[arg-type]
    assert again.outcome == "satisfied"
    assert len(asked) == 3, "only the call of the second turn was new"
    assert store.orders == ["lamp", "lamp"]
    assert [type(event) for event in asked] == [PlanReviewRequest, ToolReviewRequest, ToolReviewRequest]
    assert isinstance(ev.PlanReviewed(version=1, decision="approve").key, tuple)


async def test_a_run_of_a_given_plan_resumes_with_it(tmp_path: Path) -> None:
    with OpenAIServer(buying(ORDER, times=2)) as server:
        plan = TaskLedger(task="t", facts="F", plan="P")
        store = Store()
        async with TeamFactory.from_dict(
            team(server.base_url, manager={"max_rounds": 1}), plugins={"store": store}
        ) as f:
            first = await f.run(plan=plan, out=tmp_path)
        async with TeamFactory.from_dict(
            team(server.base_url, manager={"max_rounds": 5}), plugins={"store": store}
        ) as f:
            again = await f.resume(first.run_dir or "").result()
        assert (first.outcome, again.outcome) == ("limited", "satisfied")
        assert "plan" not in {request.purpose for request in server.requests}


async def test_an_approval_in_the_log_of_another_run_lets_no_call_be_made(tmp_path: Path) -> None:
    store, asked = Store(), []

    def approve_all(request: ToolReviewRequest) -> ToolReview:
        return ToolReview.approve_for_run()

    def deny(request: ToolReviewRequest) -> ToolReview:
        asked.append(request.function)
        return ToolReview.deny("not I")

    def stop(event: ev.AnyEvent) -> None:
        if isinstance(event, ev.ToolReviewed):
            run.cancel()  # approved, and not begun

    with OpenAIServer(buying(ORDER)) as server:
        changes = team(server.base_url, **REVIEW)
        async with TeamFactory.from_dict(changes, plugins={"store": store}) as factory:
            run = factory.start("t", out=tmp_path, approver=approve_all, sinks=[stop])
            first = await run.result()
            assert first.run_dir is not None and store.orders == []
            await factory.run("t", out=None, reuse=first.run_dir, approver=deny)
    assert asked == ["store.order"] and store.orders == []
