"""One function call on its way past the permissions: what is asked, logged, made, and given to the model."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from pydantic import BaseModel
from semantic_kernel import Kernel, functions
from semantic_kernel.connectors.ai import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, FunctionCallContent
from semantic_kernel.filters.auto_function_invocation.auto_function_invocation_context import (
    AutoFunctionInvocationContext,
)
from semantic_kernel.functions import KernelArguments, kernel_function

from magentic_kit import events as ev
from magentic_kit.errors import JournalError, LimitReached, RunCancelled
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import PARENT_CALL, ParentCall, RunEmitter
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.contents import KeptContents
from magentic_kit.team.people import People, ToolReview, ToolReviewRequest
from magentic_kit.team.plugins import PythonPlugin
from magentic_kit.tools.permissions import LoggedCall, ToolPermissions
from magentic_kit.tools.results import result_text

CALL: dict[str, Any] = {"call": "Ada#0.0", "who": "Ada", "function": "store.order"}
LAMP = {"item": "lamp"}


# As Semantic Kernel does when a kernel first runs.
AutoFunctionInvocationContext.model_rebuild(
    _types_namespace={
        "ChatHistory": ChatHistory,
        "FunctionCallContent": FunctionCallContent,
        "FunctionResult": functions.FunctionResult,
        "Kernel": Kernel,
        "KernelArguments": KernelArguments,
        "KernelFunction": functions.KernelFunction,
        "PromptExecutionSettings": PromptExecutionSettings,
    }
)


class Store:
    """Functions with an effect that can be seen, and some that fail in their own way."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.inside: list[ParentCall | None] = []

    @kernel_function
    def order(self, item: str) -> str:
        self.inside.append(PARENT_CALL.get())
        self.done.append(item)
        return f"ordered {item}"

    order.preview = lambda item: {"stock": f"one {item} less"}  # type: ignore[attr-defined]

    @kernel_function
    def fail(self, item: str) -> str:
        self.done.append(item)
        try:
            raise KeyError("the innermost")
        except KeyError as error:
            raise RuntimeError("outside") from error

    fail.preview = lambda item: 1 / 0  # type: ignore[attr-defined]

    @kernel_function
    def leave(self, item: str) -> str:
        raise SystemExit(3)

    @kernel_function
    async def give_up(self, item: str) -> str:
        raise asyncio.CancelledError

    @kernel_function
    async def hang(self, item: str) -> str:
        self.done.append(item)
        await anyio.sleep_forever()
        return ""


class Run:
    """What one run has of these, and the calls that an agent makes in it."""

    def __init__(
        self,
        *,
        log: Sequence[ev.AnyEvent] = (),
        patterns: Sequence[str] = (),
        approver: Callable[[ToolReviewRequest], Any] | None = None,
        secrets: Sequence[str] = (),
        plugin_timeout: float | None = None,
        **limits: Any,
    ) -> None:
        self.store, self.events, self.asked = Store(), list[ev.AnyEvent](), list[ToolReviewRequest]()
        self.steps = RecordedSteps(log)
        self.emitter = RunEmitter("run", redactor=Redactor(secrets), steps=self.steps, sinks=[self.events.append])
        self.control = RunControl(ev.RunLimits(**limits), self.emitter)
        self._answer = approver
        plugin = PythonPlugin(type="python", target="store:Store", timeout=plugin_timeout)
        self.permissions = ToolPermissions(
            self.emitter,
            self.control,
            self.steps,
            plugins={"store": plugin},
            patterns=patterns,
            people=People(approver=self._ask if approver else None),
            store=KeptContents(self.emitter.attachments),
        )
        self.kernel = Kernel()
        self.kernel.add_plugin(self.store, "store")

    def _ask(self, request: ToolReviewRequest) -> Any:
        assert self._answer is not None
        self.asked.append(request)
        return self._answer(request)

    async def call(self, function: str = "order", name: str = "Ada#0.0", **arguments: Any) -> str:
        """Makes a call; what the model is given."""
        given = arguments or LAMP
        content = LoggedCall(id="1", name=f"store-{function}", arguments=given)  # type: ignore[call-arg]
        content._log_name = name
        invocation = AutoFunctionInvocationContext(
            function=self.kernel.get_function("store", function),
            kernel=self.kernel,
            arguments=KernelArguments(**given),
            chat_history=ChatHistory(),
            function_call_content=content,
        )
        await self.permissions.invoke("Ada", invocation)
        assert invocation.function_result is not None
        return str(invocation.function_result.value)

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


def approve(_: ToolReviewRequest) -> ToolReview:
    return ToolReview.approve()


# -- who is asked


async def test_a_call_that_nobody_reviews_is_logged_made_and_given_to_the_model() -> None:
    run = Run()
    assert await run.call() == "ordered lamp"
    started, finished = run.events
    assert isinstance(started, ev.ToolCallStarted) and isinstance(finished, ev.ToolCallFinished)
    assert (started.call, started.who, started.function, started.arguments) == (*CALL.values(), LAMP)
    assert (finished.call, finished.who, finished.function, finished.result) == (*CALL.values(), "ordered lamp")
    assert 0 <= finished.seconds < 60 and not finished.reused
    assert run.store.done == ["lamp"] and not run.asked
    (inside,) = run.store.inside
    assert inside is not None
    assert (inside.emitter, inside.steps, inside.name) == (run.emitter, run.steps, "Ada#0.0")


@pytest.mark.parametrize("pattern", ["store.order", "store.*", "*", "*.ord?r", "store.[o]rder"])
async def test_a_pattern_of_the_team_file_asks_a_person(pattern: str) -> None:
    run = Run(patterns=["other.*", pattern], approver=approve)
    assert await run.call() == "ordered lamp"
    assert run.kinds == ["tool_reviewed", "tool_call_started", "tool_call_finished"]
    assert run.asked == [
        ToolReviewRequest(agent="Ada", function="store.order", arguments=LAMP, changes={"stock": "one lamp less"})
    ]
    reviewed = run.events[0]
    assert isinstance(reviewed, ev.ToolReviewed)
    assert (reviewed.call, reviewed.who, reviewed.function, reviewed.arguments) == (*CALL.values(), LAMP)
    assert (reviewed.decision, reviewed.reason) == ("approve", "")


@pytest.mark.parametrize("pattern", ["store.burn", "order", "Store.order", "store", ""])
async def test_another_pattern_asks_nobody(pattern: str) -> None:
    run = Run(patterns=[pattern], approver=approve)
    assert await run.call() == "ordered lamp" and not run.asked


@pytest.mark.parametrize(
    ("approver", "told"),
    [
        (lambda _: ToolReview.deny("too dear"), "Denied: too dear"),
        (lambda _: ToolReview.deny(""), "Denied: a person denied this call"),
        (None, "Denied: nobody is there to approve this call"),
    ],
)
async def test_without_a_yes_nothing_is_called(approver: Any, told: str) -> None:
    run = Run(patterns=["*"], approver=approver)
    assert await run.call() == told
    assert run.kinds == ["tool_reviewed", "tool_call_denied"] and run.store.done == []
    denied = run.events[1]
    assert isinstance(denied, ev.ToolCallDenied)
    assert (denied.call, denied.who, denied.function, denied.arguments) == (*CALL.values(), LAMP)
    assert f"Denied: {denied.reason}" == told


async def test_one_yes_may_hold_for_all_calls_of_that_function_in_the_run() -> None:
    run = Run(patterns=["*"], approver=lambda _: ToolReview.approve_for_run())
    for number in range(3):
        await run.call(name=f"Ada#0.{number}")
    assert (len(run.asked), run.kinds.count("tool_reviewed"), run.store.done) == (1, 1, ["lamp"] * 3)
    await run.call("fail", name="Ada#0.3")
    assert [request.function for request in run.asked] == ["store.order", "store.fail"]
    assert run.asked[1].changes == {}, "a preview that fails shows nothing"


async def test_a_yes_holds_for_one_call() -> None:
    run = Run(patterns=["*"], approver=approve)
    for number in range(2):
        await run.call(name=f"Ada#0.{number}")
    assert len(run.asked) == 2


async def test_the_time_that_a_person_takes_does_not_count() -> None:
    def slow(_: ToolReviewRequest) -> ToolReview:
        run.control.clock._paused_at += 1000  # as if so much time had passed while asking
        assert run.control.clock.elapsed > 0
        run.control.clock._paused_at -= 1000
        return ToolReview.approve()

    run = Run(patterns=["*"], approver=slow, deadline=100.0)
    assert await run.call() == "ordered lamp"


async def test_a_run_that_was_cancelled_while_a_person_thought_begins_nothing() -> None:
    def cancel(_: ToolReviewRequest) -> ToolReview:
        run.control.cancel()
        return ToolReview.approve()

    run = Run(patterns=["*"], approver=cancel)
    with pytest.raises(RunCancelled):
        await run.call()
    assert run.kinds == ["tool_reviewed"] and run.store.done == []


# -- what comes of a call


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("fail", "Error: KeyError: 'the innermost'"),
        ("leave", "Error: SystemExit: 3"),
        pytest.param(
            "give_up",
            "Error: CancelledError: ",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell who was cancelled"),
        ),
    ],
)
async def test_what_a_function_raises_is_told_to_the_model(function: str, told: str) -> None:
    run = Run()
    assert await run.call(function) == told
    failed = run.events[-1]
    assert isinstance(failed, ev.ToolCallFailed) and run.kinds == ["tool_call_started", "tool_call_failed"]
    assert (failed.call, failed.who, failed.function) == ("Ada#0.0", "Ada", f"store.{function}")
    assert f"Error: {failed.error}" == told and 0 <= failed.seconds < 60


@pytest.mark.parametrize(
    "limits", [{"tool_timeout": 0.01}, {"plugin_timeout": 0.01}, {"plugin_timeout": 0.01, "tool_timeout": 600.0}]
)
async def test_a_function_that_hangs_is_given_up_in_its_time(limits: dict[str, Any]) -> None:
    run = Run(**limits)
    assert await run.call("hang") == "Error: no answer within 0.01 s"
    assert run.kinds == ["tool_call_started", "tool_call_failed"] and run.store.done == ["lamp"]


async def test_a_call_that_the_end_of_the_run_breaks_off_stays_unfinished() -> None:
    run = Run()
    async with anyio.create_task_group() as tasks:

        async def cancel() -> None:
            while not run.store.done:
                await anyio.lowlevel.checkpoint()
            run.control.cancel()

        tasks.start_soon(cancel)
        with pytest.raises(RunCancelled):
            await run.call("hang")
    assert run.kinds == ["tool_call_started"]


async def test_the_deadline_breaks_a_call_off_too() -> None:
    run = Run(deadline=0.05)
    with pytest.raises(LimitReached):
        await run.call("hang")
    assert run.kinds == ["tool_call_started", "limit_reached"]


async def test_cancelling_the_task_cancels_the_call() -> None:
    run = Run()
    task = asyncio.create_task(run.call("hang"))
    while not run.store.done:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.kinds == ["tool_call_started"]


@pytest.mark.parametrize(
    ("most", "text"), [(3, "ord"), (12, "ordered lamp"), (None, "ordered lamp"), (11, "ordered lam")]
)
async def test_a_long_result_is_cut_for_the_model_alone(most: int | None, text: str) -> None:
    run = Run(result_chars=most)
    told = await run.call()
    assert told == text if text == "ordered lamp" else told == f"{text}\n[cut here: the result has 12 characters]"
    assert run.events[-1].result == "ordered lamp"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("secret", "most", "text"),
    [
        ("open-sesame", 16, "ordered open-sesame"),  # what is logged is not too long
        ("open-sesame", 15, "ordered [secret\n[cut here: the result has 16 characters]"),
        ("q7x!", 15, "ordered [secret\n[cut here: the result has 16 characters]"),  # though what was returned is not
    ],
)
async def test_a_result_is_cut_where_a_resumed_run_will_cut_it(secret: str, most: int, text: str) -> None:
    run = Run(secrets=[secret], result_chars=most)
    told = await run.call(item=secret)
    assert told == text
    resumed = Run(log=run.events, secrets=[secret], result_chars=most)
    assert await resumed.call(item=secret) == Redactor([secret]).text(told)
    assert resumed.store.done == []


async def test_a_log_that_cannot_be_written_stops_the_call_before_its_effect() -> None:
    class Full:
        directory = None

        def write(self, event: ev.AnyEvent) -> None:
            raise JournalError("no space left")

    run = Run()
    run.emitter.log = Full()  # type: ignore[assignment]
    with pytest.raises(JournalError):
        await run.call()
    assert run.store.done == []


# -- what a resumed run takes from its log


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (ev.ToolCallFinished(**CALL, seconds=1, result="ordered before"), "ordered before"),
        (ev.ToolCallFailed(**CALL, seconds=1, error="broke before"), "Error: broke before"),
        (ev.ToolCallDenied(**CALL, reason="denied before"), "Denied: denied before"),
    ],
)
async def test_what_ended_before_is_not_done_or_asked_again(end: ev.AnyEvent, told: str) -> None:
    run = Run(log=[ev.ToolCallStarted(**CALL, arguments=LAMP), end], patterns=["*"], approver=approve)
    assert await run.call() == told
    assert run.store.done == [] and not run.asked and run.events == []


async def test_a_run_that_takes_steps_of_another_says_so() -> None:
    run = Run()
    steps = RecordedSteps([ev.ToolCallFinished(**CALL, seconds=1, result="ordered before")], strict=False)
    run.permissions._steps = steps
    assert await run.call() == "ordered before"
    (event,) = run.events
    assert isinstance(event, ev.ToolCallFinished) and event.reused


@pytest.mark.parametrize("decision", ["approve", "deny", "approve_for_run"])
async def test_a_persons_word_in_the_log_holds(decision: str) -> None:
    reviewed = ev.ToolReviewed(**CALL, decision=decision, reason="so", arguments=LAMP)
    run = Run(log=[reviewed], patterns=["*"], approver=approve)
    assert await run.call() == ("Denied: so" if decision == "deny" else "ordered lamp")
    assert not run.asked and "tool_reviewed" not in run.kinds
    await run.call(name="Ada#1.0")
    assert len(run.asked) == (0 if decision == "approve_for_run" else 1)


# -- calls that reach no function


@pytest.mark.parametrize(
    ("arguments", "logged"),
    [
        ('{"item": "lamp"}', LAMP),
        (LAMP, LAMP),
        ("[1]", None),
        ("no JSON", None),
        ("[" * 100, None),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", None),
        (None, None),
    ],
)
def test_a_call_that_is_refused_is_logged_with_what_can_be_read_of_its_arguments(arguments: Any, logged: Any) -> None:
    run = Run()
    content = FunctionCallContent(id="1", name="store-burn", arguments=arguments)
    assert run.permissions.refuse("Ada#0.0", "Ada", "store-burn", content, "there is none") == "Denied: there is none"
    (denied,) = run.events
    assert isinstance(denied, ev.ToolCallDenied)
    assert (denied.call, denied.who, denied.function) == ("Ada#0.0", "Ada", "store-burn")
    assert (denied.reason, denied.arguments or None) == ("there is none", logged)


class Model(BaseModel):
    a: int


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("é\ud800", "é?"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ({"é": [1]}, '{"é": [1]}'),
        ((1, 2), "[1, 2]"),
        ({1: {2}}, '{"1": "{2}"}'),
        (Model(a=1), '{"a":1}'),
        (b"x", "b'x'"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
    ],
)
def test_a_result_becomes_text(value: Any, text: str) -> None:
    assert result_text(value) == text
