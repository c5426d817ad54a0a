"""The attempts of one model call: which failures are tried again, after what wait, and what is shown meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from semantic_kernel.connectors.ai.prompt_execution_settings import PromptExecutionSettings
from semantic_kernel.contents import ChatHistory, StreamingChatMessageContent, StreamingTextContent
from semantic_kernel.contents.streaming_reasoning_content import StreamingReasoningContent
from semantic_kernel.contents.utils.author_role import AuthorRole

from magentic_kit import events as ev
from magentic_kit.errors import JournalError, LimitReached, RunCancelled, ServiceError
from magentic_kit.orchestration.attempts import Attempts
from magentic_kit.orchestration.connected import ModelCall, ModelRequest
from magentic_kit.runlog.control import RunControl
from magentic_kit.runlog.emitter import RunEmitter
from magentic_kit.runlog.redaction import Redactor
from magentic_kit.runlog.replay import RecordedSteps
from magentic_kit.services.rate_limits import Pace, Throttle
from magentic_kit.services.reply import Answer, CallInRun, Reply, contents_of
from magentic_kit.services.scripted import ScriptedChatCompletion

HANG = "hang"
Act = Any
"""What a stream does: a text or reasoning it brings, an exception it raises, or `HANG`."""


def thought(text: str) -> StreamingReasoningContent:
    return StreamingReasoningContent(choice_index=0, text=text)


def down(**more: Any) -> ServiceError:
    return ServiceError("the server is down", service="default", retryable=True, fault="down", **more)


def refused(seconds: float | None = 0.0) -> ServiceError:
    return ServiceError("too many", service="default", status=429, retryable=True, retry_after=seconds, fault="limit")


class Called:
    """One call of a service that does in each attempt what it is told to."""

    def __init__(self, *attempts: list[Act], purpose: str = "turn", person: bool = False, **more: Any) -> None:
        asked = {name: more.pop(name, None) for name in ("silence", "timeout")}
        retries = more.pop("call_retries", 2)
        self.attempts, self.made, self.events = attempts, 0, list[ev.AnyEvent]()
        emitter = RunEmitter(
            "run", redactor=Redactor(["open-sesame"]), steps=RecordedSteps(), sinks=[self.events.append]
        )
        self.throttle = more.pop("throttle", None) or Throttle()
        self.control = RunControl(ev.RunLimits(**more), emitter)
        self.control.clock.start()
        call = ModelCall(purpose=purpose, options={}, retries=retries, person=person, **asked)
        self.attempt = Attempts(
            CallInRun(
                name="Ada#0", who="Ada", purpose=purpose, service="default", number=0, number_of_purpose=0, request={}
            ),
            ModelRequest(
                service=ScriptedChatCompletion({}),
                call=call,
                history=ChatHistory(),
                settings=PromptExecutionSettings(),
                attempt=0,
            ),
            lambda: Reply("Ada#0", str),
            emitter=emitter,
            control=self.control,
            throttle=self.throttle,
        )

    async def send(self) -> AsyncIterator[list[Any]]:
        acts = self.attempts[min(self.made, len(self.attempts) - 1)]
        self.made += 1
        for act in acts:
            if isinstance(act, BaseException):
                raise act
            if act == HANG:
                await anyio.sleep_forever()
            item = StreamingTextContent(choice_index=0, text=act) if isinstance(act, str) else act
            if isinstance(item, StreamingChatMessageContent):
                yield [item]
                continue
            yield [StreamingChatMessageContent(role=AuthorRole.ASSISTANT, choice_index=0, items=[item])]

    async def make(self) -> Reply:
        with anyio.fail_after(60):
            return await self.attempt.make(self.send)

    @property
    def retried(self) -> list[ev.ModelCallRetried]:
        return [event for event in self.events if isinstance(event, ev.ModelCallRetried)]

    def shown(self, kind: type[Any]) -> list[str]:
        deltas = [event for event in self.events if isinstance(event, kind)]
        assert {(delta.who, delta.purpose) for delta in deltas} <= {("Ada", "turn")}
        return [delta.text for delta in deltas]


async def test_a_reply_is_shown_as_it_comes_without_secrets_and_counted() -> None:
    usage = ev.Usage(prompt_tokens=5, completion_tokens=7)
    end = contents_of(Answer(text=".", usage=usage), "m", attempt=0)[-1]
    paid: list[int] = []

    class Counting(Throttle):
        async def replied(self, tokens: int) -> None:
            paid.append(tokens)

    pieces = ["One ", thought("hm "), "open-", thought("open-ses"), "sesame", thought("ame"), " two", end]
    call = Called(pieces, throttle=Counting())
    reply = await call.make()
    assert (reply.text, reply.reasoning) == ("One open-sesame two", "hm open-sesame")
    assert "".join(call.shown(ev.TextDelta)) == "One [secret] two" and len(call.shown(ev.TextDelta)) > 1
    assert "".join(call.shown(ev.ReasoningDelta)) == "hm [secret]"
    assert (paid, call.throttle.in_flight, call.made) == ([12], 0, 1)
    assert call.attempt.reply is reply


async def test_what_is_held_back_is_shown_at_the_end() -> None:
    call = Called(["so open-ses", thought("so open-")])
    reply = await call.make()
    assert reply.text == "so open-ses" == "".join(call.shown(ev.TextDelta))
    assert "".join(call.shown(ev.ReasoningDelta)) == "so open-"
    tagged = Called(["<think>a", " b</think>c <", "i"])
    assert ((await tagged.make()).text, (await tagged.make()).reasoning) == ("c <i", "a b")
    begun = Called(["x <thi"])
    await begun.make()
    assert "".join(begun.shown(ev.TextDelta)) == "x <thi"


@pytest.mark.parametrize(
    ("attempts", "made"),
    [
        ([[down(retry_after=0.0)], ["ok"]], 2),
        ([[down(retry_after=0.0)], [down(retry_after=0.0)], ["ok"]], 3),
        ([[thought("hm"), down(retry_after=0.0)], ["ok"]], 2),  # reasoning alone may come twice
    ],
)
async def test_a_failure_that_may_pass_is_tried_again(attempts: list[list[Act]], made: int) -> None:
    call = Called(*attempts)
    assert (await call.make()).text == "ok" and call.made == made
    assert [(it.call, it.who, it.attempt, it.wait, it.error) for it in call.retried] == [
        ("Ada#0", "Ada", number, 0.0, "the server is down") for number in range(1, made)
    ]
    assert call.throttle.in_flight == 0


@pytest.mark.parametrize(
    ("attempts", "made"),
    [
        ([[down(retry_after=0.0)]], 3),
        ([["One", down(retry_after=0.0)], ["ok"]], 1),  # what was shown cannot be taken back
        ([[ServiceError("wrong key", fault="key")], ["ok"]], 1),
        ([[]], 1),  # a stream without anything is no chat completion
    ],
)
async def test_another_failure_or_one_too_many_ends_the_call(attempts: list[list[Act]], made: int) -> None:
    call = Called(*attempts)
    with pytest.raises(ServiceError):
        await call.make()
    assert call.made == made and len(call.retried) == made - 1 and call.throttle.in_flight == 0


@pytest.mark.parametrize(("retries", "made"), [(None, 1), (0, 1), (1, 2), (4, 5)])
async def test_refusals_for_their_number_have_the_retries_of_the_run(retries: int | None, made: int) -> None:
    call = Called([refused(0.001)], call_retries=0, retries=retries)
    with pytest.raises(ServiceError) as caught:
        await call.make()
    assert caught.value.status == 429 and call.made == made


@pytest.mark.parametrize(("asked_for", "closed_for"), [(90.0, 90.0), (None, 0.5)])
async def test_a_refusal_closes_the_service_for_all_who_share_it(asked_for: float | None, closed_for: float) -> None:
    def clock() -> float:
        return 1000.0

    call = Called([refused(asked_for)], retries=0, throttle=Throttle(Pace(clock), clock))
    with pytest.raises(ServiceError):
        await call.make()
    assert call.throttle.closed_for == closed_for


async def test_no_wait_goes_beyond_the_deadline() -> None:
    asked = Called([down(retry_after=100.0)], deadline=50.0)
    with pytest.raises(LimitReached, match=r"the service asks to wait 100 s \(the server is down\), but the deadline"):
        await asked.make()
    assert asked.made == 1 and asked.retried == []
    closed = Called(["ok"], deadline=50.0)
    await closed.throttle.refused(100.0)
    with pytest.raises(LimitReached, match="the service has asked for time, but the deadline is 50 s"):
        await closed.make()
    assert closed.made == 0


async def test_the_answer_may_be_written_after_a_limit_and_nothing_else() -> None:
    for purpose in ("answer", "turn"):
        call = Called([down(retry_after=0.0)], ["ok"], purpose=purpose, max_tokens=1)
        call.control.tokens = 5
        if purpose == "answer":
            assert (await call.make()).text == "ok" and call.made == 2
        else:
            with pytest.raises(LimitReached):
                await call.make()
            assert call.made == 0


@pytest.mark.parametrize(
    ("attempt", "least", "most"), [(1, 0.25, 0.5), (2, 0.5, 1.0), (4, 2, 4), (7, 15, 30), (40, 15, 30)]
)
async def test_the_wait_doubles_up_to_half_a_minute(attempt: int, least: float, most: float) -> None:
    call = Called([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.attempt._wait, attempt, down())
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    (retried,) = call.retried
    assert least <= retried.wait <= most and retried.attempt == attempt


SLOW = "s; raise limits.model_timeout if the model needs longer"
IDLE = "s; raise limits.stream_idle_timeout if the model needs longer"


@pytest.mark.parametrize(
    ("acts", "limits", "told"),
    [
        ([HANG], {"timeout": 0.02}, f"silent for 0.02 {SLOW}"),
        (["One", HANG], {"timeout": 0.02}, f"no whole reply within 0.02 {SLOW}"),
        ([HANG], {"silence": 0.02}, f"silent for 0.02 {IDLE}"),
        (["One", HANG], {"silence": 0.02, "timeout": 600.0}, f"silent for 0.02 {IDLE}"),
        ([HANG], {"silence": 600.0, "timeout": 0.02}, f"silent for 0.02 {SLOW}"),
    ],
)
async def test_a_silent_service_is_given_up_naming_the_limit(
    acts: list[Act], limits: dict[str, float], told: str
) -> None:
    call = Called(acts, call_retries=0, **limits)
    with pytest.raises(ServiceError) as caught:
        await call.make()
    error = caught.value
    assert str(error) == f"service 'default': {told}"
    assert (error.service, error.retryable, error.fault) == ("default", True, "down")
    assert call.throttle.in_flight == 0


async def test_a_person_may_take_any_time_and_the_clock_stands_still() -> None:
    call = Called(["ok"], person=True, silence=0.0, timeout=0.0)
    assert (await call.make()).text == "ok"


async def test_what_the_connector_raises_is_told_with_the_model_and_the_service() -> None:
    call = Called([ConnectionResetError("gone")], call_retries=0)
    with pytest.raises(ServiceError) as caught:
        await call.make()
    assert str(caught.value) == "service 'default' (scripted): the connection failed: ConnectionResetError: gone"
    assert isinstance(caught.value.__cause__, ConnectionResetError) and caught.value.service == "default"


@pytest.mark.parametrize("error", [JournalError("no space left"), RunCancelled("by a person")])
async def test_what_ends_the_run_is_not_tried_again(error: Exception) -> None:
    call = Called([error], ["ok"])
    with pytest.raises(type(error)):
        await call.make()
    assert call.made == 1 and call.retried == []


async def test_cancelling_the_run_ends_a_call_and_its_waits() -> None:
    for acts in ([HANG], [down(retry_after=1000.0)]):
        call = Called(acts)
        async with anyio.create_task_group() as tasks:

            async def cancel(call: Called = call) -> None:
                await anyio.wait_all_tasks_blocked()
                call.control.cancel()

            tasks.start_soon(cancel)
            with pytest.raises(RunCancelled):
                await call.make()
        assert call.made == 1
