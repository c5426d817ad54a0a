"""Realistic event sequences, stamped as a run stamps them: what the readers of events are tested with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord, View

TASK = "Which region grew fastest in 2025, and why?"
HOSTILE = (
    "# Answer\n<script>alert(1)</script> ![x](http://evil/p.png) [a](javascript:alert(1)) <http://evil>\n"
    "[Answer]: data:text/html,x\n[ok](https://example.org)\n"
    "`a ` b\n`<img src=x>` | `c | <b>d</b>` \\`<i>` \\\\<u> `safe <code>`\n"
    "[bold red]boo[/] [/]\x1b[31mred\x1b]0;title\x07 \x9b2J\u202etxet\x00\ud800\n"
    "1. ```\n   list fence\n<iframe>\n```\n~~~ open to the end\n</details><h1>Errors</h1>\n---\n| a | b |"
)
"""Markup, images, links, broken fences and control characters of every kind."""


def stamp(*events: ev.AnyEvent) -> list[ev.AnyEvent]:
    """`events` with the envelope: one second apart, deltas without a number in the log."""
    stamped, seq = [], 0
    for second, event in enumerate(events):
        time = f"2025-06-01T12:{second // 60:02}:{second % 60:02}.000Z"
        stamped.append(replace(event, seq=seq if event.logged else -1, time=time, run_id="r1"))
        seq += event.logged
    return stamped


def feed(view: View, events: Iterable[ev.AnyEvent], record: RunRecord | None = None) -> RunRecord:
    """Shows events on a view as a run does: the record, which is returned, takes in each event first."""
    record = record or RunRecord()
    for event in events:
        record.apply(event)
        view(event, record)
    return record


def started(*, scripted: tuple[str, ...] = (), **changes: Any) -> ev.RunStarted:
    def who(name: str, **more: Any) -> dict[str, Any]:
        provider = "scripted" if name in scripted else "openai"
        return {"service": "default", "provider": provider, "model": "gpt-4.1-mini", **more}

    agents = {
        "Analyst": who("Analyst", description="Queries the database.", tools=["db.query"]),
        "Writer": who("Writer", description="Writes.", tools=[]),
    }
    fields = {
        "team": "sales",
        "task": TASK,
        "agents": agents,
        "manager": who("manager"),
        "limits": ev.RunLimits(max_rounds=20, max_stalls=3, deadline=900.0),
        "inputs": {"year": 2025},
        "config_hash": "c0ffee",
        "versions": {"magentic_kit": "0.1.0", "semantic_kernel": "1.45.0"},
    }
    return ev.RunStarted(**{**fields, **changes})


def model_call(
    call: str, purpose: str, text: str, *, usage: ev.Usage | None = None, deltas: tuple[str, ...] = ()
) -> list[ev.AnyEvent]:
    who = call.partition("#")[0]
    head = {"call": call, "who": who, "purpose": purpose}
    return [
        ev.ModelCallStarted(**head, service="default", model="gpt-4.1-mini"),
        *(ev.TextDelta(who=who, purpose=purpose, text=delta) for delta in deltas),
        ev.ModelCallFinished(**head, seconds=0.5, usage=usage or ev.Usage(), text=text, finish_reason="stop"),
    ]


def ledger(number: int, speaker: str, instruction: str, **changes: Any) -> ev.ProgressLedger:
    answers = {"is_request_satisfied": False, "is_in_loop": False, "is_progress_being_made": True}
    reasons = changes.pop("reasons", {})
    answers |= {"next_speaker": speaker, "instruction_or_question": instruction}
    answers |= {key: changes.pop(key) for key in tuple(changes) if key in answers}
    judged = {key: ev.Judgement(answer=value, reason=reasons.get(key, "")) for key, value in answers.items()}
    return ev.ProgressLedger(round=number, tier="json_schema", **judged, **changes)


def plan_and_first_query(**changes: Any) -> list[ev.AnyEvent]:
    """The start of the satisfied run: a plan, and the Analyst's first turn with a tool call."""
    query = {"call": "t1", "who": "Analyst", "function": "db.query"}
    return [
        started(**changes),
        *model_call("manager#1", "facts", "We know the year.", usage=ev.Usage(prompt_tokens=100, completion_tokens=20)),
        *model_call("manager#2", "plan", "- Query\n- Write", usage=ev.Usage(prompt_tokens=150, completion_tokens=30)),
        ev.PlanCreated(facts="We know the year.", plan="- Query\n- Write"),
        *model_call("manager#3", "ledger", "{}", usage=ev.Usage(prompt_tokens=200, completion_tokens=50)),
        ledger(
            1,
            "Analyst",
            "Sum the sales by region.",
            reasons={"is_progress_being_made": "We have just begun.", "next_speaker": "Data first."},
        ),
        ev.AgentStarted(agent="Analyst", round=1, instruction="Sum the sales by region."),
        *model_call("Analyst#1", "turn", "Let me look.", deltas=("Let me ", "look.")),
        ev.ToolCallStarted(**query, arguments={"sql": "SELECT region,\n  sum(amount) FROM sales"}),
        ev.ToolCallFinished(**query, seconds=0.02, result="north 12\nsouth 9"),
        *model_call("Analyst#2", "turn", "North grew\nfastest.", deltas=("North", " grew\nfas", "test.")),
        ev.AgentMessage(agent="Analyst", round=1, text="Let me look.\n\nNorth grew\nfastest."),
    ]


def satisfied(**changes: Any) -> list[ev.AnyEvent]:
    """Satisfied after a stall and a replan; one tool call of each kind, a retry, a refused ledger."""
    failed = {"call": "t2", "who": "Analyst", "function": "db.query"}
    return stamp(
        *plan_and_first_query(**changes),
        ev.LedgerRejected(round=2, attempt=1, error="the reply is not JSON", text="Sure!"),
        ledger(
            2,
            "Writer",
            "Write it up.",
            is_progress_being_made=False,
            is_in_loop=True,
            reasons={"is_progress_being_made": "Nothing new came."},
            stalls=1,
            attempts=2,
            repaired=True,
        ),
        ev.ModelCallRetried(call="Writer#1", who="Writer", attempt=1, wait=2.0, error="429 Too Many Requests"),
        ev.AgentStarted(agent="Writer", round=2, instruction="Write it up."),
        *model_call("Writer#1", "turn", "", usage=ev.Usage(prompt_tokens=80, completion_tokens=0)),
        ev.AgentMessage(agent="Writer", round=2, text="", note="The reply was empty."),
        ev.Replanned(facts="North leads.", plan="- Ask why", version=2, reason="1 round in a row stalled"),
        ledger(3, "Analyst", "Find out why."),
        ev.AgentStarted(agent="Analyst", round=3, instruction="Find out why."),
        ev.ToolCallStarted(**failed, arguments={"sql": "SELECT why"}),
        ev.ToolCallFailed(**failed, seconds=1.5, error="no such column: why"),
        ev.ToolCallDenied(call="t3", who="Analyst", function="db.drop", reason="not one of the listed tools"),
        *model_call("Analyst#3", "turn", "New stores.", usage=ev.Usage(prompt_tokens=90, completion_tokens=8)),
        ev.AgentMessage(agent="Analyst", round=3, text="New stores."),
        ledger(
            4,
            "Writer",
            "",
            is_request_satisfied=True,
            reasons={"is_request_satisfied": "Both parts are answered."},
        ),
        ev.RunFinished(outcome="satisfied", answer="North, because of **new stores**.", seconds=42.4),
    )


def limited() -> list[ev.AnyEvent]:
    """Ended by its round limit after one round; the answer is the best there is."""
    detail = "1 round was used; the limit is 1"
    return stamp(
        *plan_and_first_query(limits=ev.RunLimits(max_rounds=1, max_stalls=3)),
        ev.LimitReached(limit="max_rounds", detail=detail),
        ev.RunFinished(outcome="limited", reason="max_rounds", answer="North, as far as we know.", seconds=75.0),
    )


def failed_in_the_plan() -> list[ev.AnyEvent]:
    """The first model call is refused."""
    head = {"call": "manager#1", "who": "manager", "purpose": "facts"}
    error = "service 'default': 401 Unauthorized; check OPENAI_API_KEY"
    return stamp(
        started(),
        ev.ModelCallStarted(**head, service="default", model="gpt-4.1-mini"),
        ev.ModelCallFailed(**head, seconds=0.1, kind="service", error=error),
        ev.RunFinished(outcome="failed", answer="", error={"kind": "service", "message": error}, seconds=0.1),
    )


def cancelled() -> list[ev.AnyEvent]:
    """Cancelled while a tool ran, in the middle of a line."""
    begin = plan_and_first_query(scripted=("Analyst", "Writer", "manager"))
    cut = next(index for index, event in enumerate(begin) if isinstance(event, ev.ToolCallFinished))
    return stamp(*begin[:cut], ev.RunFinished(outcome="cancelled", answer="", seconds=3.0))


def hostile() -> list[ev.AnyEvent]:
    """Every text that a model, a tool or a user can choose is hostile."""
    tool = {"call": "t1", "who": "Analyst", "function": f"db.{HOSTILE}"}
    judged = dict.fromkeys(("is_progress_being_made", "next_speaker", "instruction_or_question"), HOSTILE)
    return stamp(
        started(team="a\n# b <i>", task=HOSTILE),
        ev.PlanCreated(facts=HOSTILE, plan=HOSTILE),
        ev.PlanReviewed(version=1, decision="approve", feedback=HOSTILE),
        ledger(1, "Analyst", HOSTILE, reasons=judged),
        ev.AgentStarted(agent="Analyst", round=1, instruction=HOSTILE),
        *model_call("Analyst#1", "turn", HOSTILE, deltas=tuple(HOSTILE)),
        ev.ToolReviewed(**tool, decision="approve_for_run", reason=HOSTILE),
        ev.ToolCallStarted(**tool, arguments={"x": HOSTILE, HOSTILE: 1}),
        ev.ToolCallFailed(**tool, seconds=0.1, error=HOSTILE),
        ev.AgentMessage(agent="Analyst", round=1, text=HOSTILE, note=HOSTILE),
        ev.Replanned(facts=HOSTILE, plan=HOSTILE, version=2, reason=HOSTILE),
        ev.LedgerRejected(round=2, attempt=1, error=HOSTILE, text=HOSTILE),
        ev.RunFinished(outcome="failed", reason=HOSTILE, answer=HOSTILE, error={"kind": "service", "message": HOSTILE}),
    )
