"""Teams as models of an OpenAI-compatible server: `/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from magentic_kit.embed import task_of
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.result import RunResult
from magentic_kit.serve.questions import Question
from magentic_kit.serve.requests import BadRequest, RunResponse, read_body, while_connected
from magentic_kit.serve.teams import ServedRun, ServedTeams
from magentic_kit.team.problems import nearest
from magentic_kit.views.progress import progress_of
from magentic_kit.views.reply import ReplyStream, ending_data, reply_of


class TextPart(BaseModel):
    """A part of a message; a team is given text alone."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    name: str | None = None
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """What was said."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool = False


class ResponseFormat(BaseModel):
    """The form of the answer: free text alone."""

    type: Literal["text"]


class ChatRequest(BaseModel):
    """A request for the answer of a team; `inputs` is an addition of ours, the rest OpenAI's.

    Tools that the client offers are not called, and sampling options are the team file's.
    """

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    response_format: ResponseFormat | None = None
    tool_choice: Literal["auto", "none"] | None = None
    inputs: dict[str, Any] = {}


class RunError(Exception):
    """A run that has no answer."""

    def __init__(self, result: RunResult) -> None:
        self.outcome = result.outcome
        super().__init__(reply_of(result))


def openai_routes(teams: ServedTeams) -> list[Route]:
    """Makes the routes. A run ends when its client leaves; people are not asked."""

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(name) for name in teams.by_name]})

    async def model(request: Request) -> Response:
        try:
            return JSONResponse(_model(_known(teams, request.path_params["name"])))
        except BadRequest as error:
            return _error(str(error), error.status)

    async def completions(request: Request) -> Response:
        try:
            asked = await read_body(request, ChatRequest)
            name = _known(teams, asked.model)
            task = task_of([(message.name or message.role, message.text) for message in asked.messages])
            run = await while_connected(request, teams.start(name, task or None, asked.inputs))
        except BadRequest as error:
            return _error(str(error), error.status)
        except ConfigError as error:
            return _error(str(error), 400)
        if run is None:
            return Response(status_code=499)  # for nobody
        completion = _Completion(run, asked)
        if asked.stream:
            return RunResponse(run, completion.events())
        async with run:
            try:
                whole = await while_connected(request, completion.whole())
            except RunError as error:
                return _error(str(error), 500, error.outcome)
        return Response(whole, media_type="application/json")

    return [
        Route("/v1/models", models),
        Route("/v1/models/{name}", model),
        Route("/v1/chat/completions", completions, methods=["POST"]),
    ]


def _model(name: str) -> dict[str, Any]:
    return Model(id=name, created=0, object="model", owned_by="magentic-kit").model_dump()


def _known(teams: ServedTeams, name: str) -> str:
    if name not in teams.by_name:
        raise BadRequest(f"there is no model '{name}'{nearest(name, teams.by_name)}", 404)
    return name


def _error_data(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _error(message: str, status: int, code: str | None = None) -> Response:
    """An error as OpenAI has it, which its clients should not answer by another run."""
    kind = "invalid_request_error"
    if status >= 500:
        kind = "server_error"
    return JSONResponse(_error_data(message, kind, code), status, {"x-should-retry": "false"})


class _Completion:
    """The answer of one run, in one piece or in many; its id is the run's."""

    def __init__(self, run: ServedRun, asked: ChatRequest) -> None:
        self._run = run
        self._model = asked.model
        self._has_usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self._created = int(time.time())

    async def whole(self) -> str:
        """Returns the completion. Raises `RunError`."""
        async for step in self._run.steps():
            if isinstance(step, RunResult):
                message = {"role": "assistant", "content": _text(step)}
                choice = {"index": 0, "message": message, "finish_reason": _finish_reason(step)}
                data = self._data("chat.completion", [choice], usage=_usage(step), **ending_data(step))
                return ChatCompletion.model_validate(data).model_dump_json(exclude_unset=True)
        raise AssertionError("a run has a result")

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yields the data of each event: progress as reasoning, the answer as content, an error in its place."""
        reply = ReplyStream()
        yield self._delta(role="assistant", content="")
        async for step in self._run.steps():
            if isinstance(step, RunResult):
                for event in self._last(step, reply):
                    yield event
            elif not isinstance(step, Question):
                if text := reply.piece(step):
                    yield self._delta(content=text)
                elif progress := progress_of(step):
                    yield self._delta(reasoning_content=f"{progress}\n")

    def _last(self, result: RunResult, reply: ReplyStream) -> Iterator[dict[str, Any]]:
        """What ends the stream; after an error no `[DONE]`, as OpenAI does it."""
        try:
            _text(result)
        except RunError as error:
            yield {"data": json.dumps(_error_data(str(error), "server_error", error.outcome))}
            return
        if text := reply.piece(result):
            yield self._delta(content=text)
        choice = {"index": 0, "delta": {}, "finish_reason": _finish_reason(result)}
        yield self._chunk([choice], **ending_data(result))
        if self._has_usage:
            yield self._chunk([], usage=_usage(result))
        yield {"data": "[DONE]"}

    def _delta(self, **delta: str) -> dict[str, Any]:
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _chunk(self, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        data = self._data("chat.completion.chunk", choices, **more)
        return {"data": ChatCompletionChunk.model_validate(data).model_dump_json(exclude_unset=True)}

    def _data(self, kind: str, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        data = {"id": self._run.run_id, "object": kind, "created": self._created, "model": self._model}
        return data | {"choices": choices} | more


def _text(result: RunResult) -> str:
    """Returns the answer; one that a limit cut begins with words on that. Raises `RunError` if there is none."""
    if result.outcome not in ("satisfied", "limited"):
        raise RunError(result)
    return reply_of(result)


def _finish_reason(result: RunResult) -> Literal["stop", "length"]:
    if result.outcome == "limited":
        return "length"
    return "stop"


def _usage(result: RunResult) -> dict[str, int] | None:
    """What the models of the run used together; None if no provider counted it."""
    if result.tokens is None:
        return None
    prompt, completion = result.prompt_tokens or 0, result.completion_tokens or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": result.tokens}
