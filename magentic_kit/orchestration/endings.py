"""How a run comes to its end where the manager's model does not bring it about: ledgers and answers of our own."""

from __future__ import annotations

import json
from collections.abc import Iterable

from semantic_kernel.agents.orchestration import magentic as sk

from magentic_kit.orchestration.manager_model import NAME


def answer_text(value: object) -> str:
    """An answer that is data, as the text of it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def end_of_run(reason: str) -> sk.ProgressLedger:
    """The ledger by which a limit ends the run: SK then asks for the final answer."""
    return ledger_of(satisfied=True, reason=reason)


def ledger_of(*, satisfied: bool, reason: str, speaker: str = "", instruction: str = "") -> sk.ProgressLedger:
    """A ledger that no model has written."""

    def item(answer: str | bool) -> sk.ProgressLedgerItem:
        return sk.ProgressLedgerItem(reason=reason, answer=answer)

    return sk.ProgressLedger(
        is_request_satisfied=item(satisfied),
        is_in_loop=item(False),
        is_progress_being_made=item(True),
        next_speaker=item(speaker),
        instruction_or_question=item(instruction),
    )


def last_word(spoken: Iterable[tuple[str | None, str]]) -> str:
    """In place of an answer that nobody wrote: what was said last; `spoken` gives name and text, latest first."""
    for name, text in spoken:
        if name and name != NAME and text.strip():
            return f"No final answer could be written. The last to speak was {name}:\n\n{text}"
    return "No final answer could be written, and no agent had spoken yet."
