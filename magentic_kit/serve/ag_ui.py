"""Teams for front ends that speak AG-UI: `POST /ag-ui/TEAM` is answered by the run's events as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ag_ui.core import BaseEvent, Message, RunAgentInput, TextPart
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from magentic_kit.embed import task_of
from magentic_kit.errors import ConfigError
from magentic_kit.serve.ag_ui_events import Translator
from magentic_kit.serve.questions import Question
from magentic_kit.serve.requests import BadRequest, RunResponse, read_body, while_connected
from magentic_kit.serve.teams import ServedRun, ServedTeams


class _Threads:
    """The runs of one team that wait for a person's answer, by their thread."""

    def __init__(self, teams: ServedTeams, name: str) -> None:
        self._teams = teams
        self._name = name
        self._waiting: dict[str, tuple[ServedRun, Translator]] = {}

    async def enter(self, asked: RunAgentInput, request: Request) -> tuple[ServedRun, Translator] | None:
        """Answers the run that waits, or begins another in its place; None if the client has left.

        Raises `BadRequest` or `ConfigError`.
        """
        waiting = self._waiting.get(asked.thread_id)
        if asked.resume:
            if waiting is None or waiting[0].question is None:
                raise BadRequest("no run of this thread waits for an answer (any more)", 409)
            self._answer(waiting[0], waiting[0].question, asked)
            del self._waiting[asked.thread_id]
            return waiting
        if waiting is not None:
            await waiting[0].cancel()
        task = task_of([(_speaker(message), _text(message)) for message in asked.messages])
        start = self._teams.start(self._name, task or None, _inputs(asked), can_ask=True)
        run = await while_connected(request, start)
        if run is None:
            return None
        return run, Translator(asked.thread_id)

    def _answer(self, run: ServedRun, question: Question, asked: RunAgentInput) -> None:
        for entry in asked.resume or ():
            if entry.interrupt_id != question.id:
                raise BadRequest(f"the run does not wait for an answer to '{entry.interrupt_id}'", 409)
            if entry.status == "cancelled":
                run.answer(question.unanswered("the person gave no answer"))
                continue
            try:
                run.answer(question.read(entry.payload))
            except ValueError as error:
                raise BadRequest(str(error), 422) from error

    async def events(self, run: ServedRun, translator: Translator, run_id: str, thread: str) -> AsyncIterator[Any]:
        """Yields the run's events up to its end, or to a question."""
        for event in translator.begin(run_id):
            yield _sent(event)
        async for step in run.steps():
            if isinstance(step, Question):
                self._waiting[thread] = run, translator
                run.ended.add_done_callback(lambda _: self._forget(thread, run))
            for event in translator.translate(step):
                yield _sent(event)
            if isinstance(step, Question):
                break

    def _forget(self, thread: str, run: ServedRun) -> None:
        if thread in self._waiting and self._waiting[thread][0] is run:
            del self._waiting[thread]


def ag_ui_routes(teams: ServedTeams) -> list[Route]:
    """Makes the routes. A run ends when its client leaves, unless it waits for an answer."""
    return [_route(_Threads(teams, name), name) for name in teams.by_name]


def _route(threads: _Threads, name: str) -> Route:
    async def run_agent(request: Request) -> Response:
        try:
            asked = await read_body(request, RunAgentInput)
            entered = await threads.enter(asked, request)
        except BadRequest as error:
            return JSONResponse({"error": str(error)}, error.status)
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, 422)
        if entered is None:
            return Response(status_code=499)  # for nobody
        run, translator = entered
        return RunResponse(run, threads.events(run, translator, asked.run_id, asked.thread_id))

    return Route(f"/ag-ui/{name}", run_agent, methods=["POST"])


def _sent(event: BaseEvent) -> dict[str, str]:
    return {"data": event.model_dump_json(by_alias=True)}


def _speaker(message: Message) -> str:
    return getattr(message, "name", None) or message.role


def _text(message: Message) -> str:
    """What was said to or by the team: its function calls, reasoning and activities are not said again."""
    if message.role not in ("user", "assistant", "system", "developer"):
        return ""
    content = message.content
    if isinstance(content, str) or content is None:
        return content or ""
    if not all(isinstance(part, TextPart) for part in content):
        raise BadRequest("messages: a team is given text alone", 422)
    return "".join(part.text for part in content if isinstance(part, TextPart))


def _inputs(asked: RunAgentInput) -> dict[str, Any]:
    """The team's inputs, which a front end sends as `forwardedProps.inputs`."""
    properties = asked.forwarded_props
    inputs = properties.get("inputs", {}) if isinstance(properties, dict) else {}
    if not isinstance(inputs, dict):
        raise BadRequest("forwardedProps.inputs: should be an object", 422)
    return inputs
