"""Invokes SK's orchestration on a runtime, until it ends or has to be given up."""

from __future__ import annotations

import asyncio
import logging
import sys

from semantic_kernel.agents import MagenticOrchestration
from semantic_kernel.agents.runtime import CoreRuntime, InProcessRuntime
from semantic_kernel.contents import ChatMessageContent

from magentic_kit.errors import PlanRejected, ReplayError, RunCancelled
from magentic_kit.runlog.control import RunControl

Orchestration = MagenticOrchestration[str, ChatMessageContent]

_GRACE = 2.0
"""Seconds that Semantic Kernel's runtime gets to come to rest before the run goes on without it, all in all."""


_LOGGERS = ("in_process_runtime", "semantic_kernel.agents.orchestration.agent_actor_base")
"""Where Semantic Kernel logs every exception of an actor as an error, with its traceback."""


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Whether a log record is of anything but an end that the run reports: by a person, or by a log that differs."""
    return not isinstance(sys.exc_info()[1], RunCancelled | PlanRejected | ReplayError)


async def answer_of(
    orchestration: Orchestration, task: ChatMessageContent, control: RunControl, runtime: CoreRuntime | None = None
) -> str:
    """The answer of the orchestration, on the given runtime, or on one that is started and stopped here.

    Raises what fails it, and what `control` ends it with.
    """
    if runtime is not None:
        return await _answer(orchestration, task, control, runtime)
    own = InProcessRuntime()
    own.start()
    try:
        return await _answer(orchestration, task, control, own)
    finally:
        await _stop(own, control.time_to_end(_GRACE))


async def _answer(
    orchestration: Orchestration, task: ChatMessageContent, control: RunControl, runtime: CoreRuntime
) -> str:
    """The answer; given up when the orchestration does not follow a cancel or the deadline."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_unexpected)  # once: the same filter is not added again
    invoked = await orchestration.invoke(task, runtime)
    ended = asyncio.ensure_future(invoked.get())
    cancelled = asyncio.ensure_future(control.cancelled.wait())
    deadline = control.limits.deadline
    try:
        while not ended.done() and not cancelled.done():
            left = None if deadline is None else max(deadline - control.clock.elapsed, 0) + _GRACE / 4
            done, _ = await asyncio.wait({ended, cancelled}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                control.check(final=True)
        if not ended.done():
            await asyncio.wait({ended}, timeout=control.time_to_end(_GRACE))
        if not ended.done():
            raise RunCancelled("the run was cancelled")
        return ended.result().content
    finally:
        ended.cancel()
        cancelled.cancel()


async def _stop(runtime: InProcessRuntime, grace: float) -> None:
    idle = asyncio.ensure_future(runtime.stop_when_idle())
    await asyncio.wait({idle}, timeout=grace)
    if not idle.done():  # something does not follow its cancellation; leave it behind
        await runtime.stop()
        idle.cancel()  # it waits for the queue that `stop` has replaced
    await asyncio.gather(idle, return_exceptions=True)
