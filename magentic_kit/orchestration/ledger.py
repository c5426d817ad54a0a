"""The progress ledger as models really write it: read leniently, judged strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

import yaml
from pydantic import BaseModel
from semantic_kernel.agents.orchestration.magentic import ProgressLedger, ProgressLedgerItem

QUESTIONS = ("is_request_satisfied", "is_in_loop", "is_progress_being_made")
"""The ledger's yes-or-no questions; the other two answers are texts."""
_KEYS = (*QUESTIONS, "next_speaker", "instruction_or_question")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_LONGEST = 200_000


def ledger_schema(names: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of a progress ledger in which only these agents can speak next."""

    def record(**properties: Any) -> dict[str, Any]:
        required = list(properties)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    text = {"type": "string"}
    answers = {
        **{key: {"type": "boolean"} for key in QUESTIONS},
        "next_speaker": {**text, "enum": list(names)},
        "instruction_or_question": text,
    }
    return record(**{key: record(reason=text, answer=answer) for key, answer in answers.items()})


def tier_settings(settings: type[BaseModel], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Tier -> execution settings that ask for it, strictest first, of those that this connector's settings know."""
    schema = ledger_schema(names)
    known = settings.model_fields
    tiers: dict[str, dict[str, Any]] = {}
    if "response_format" in known:  # OpenAI and what is compatible with it, Mistral, Azure AI Inference
        wrapped = {"name": "progress_ledger", "strict": True, "schema": schema}
        tiers["json_schema"] = {"response_format": {"type": "json_schema", "json_schema": wrapped}}
        tiers["json_object"] = {"response_format": {"type": "json_object"}}
    elif "response_schema" in known:  # Google
        mime = {"response_mime_type": "application/json"}
        tiers["json_schema"] = {**mime, "response_schema": schema}
        tiers["json_object"] = mime
    elif "format" in known:  # Ollama
        tiers["json_schema"] = {"format": schema}
        tiers["json_object"] = {"format": "json"}
    tiers["prompt"] = {}
    return tiers


def parse_ledger(text: str, names: Collection[str]) -> tuple[ProgressLedger, bool]:
    """The ledger in a model's reply, and whether it had to be mended to be read.

    Fences, words around the JSON, single quotes, trailing commas, booleans as words, and names in another
    case are mended. Raises `ValueError` with a sentence for the model when an answer is missing, is no
    boolean, or names nobody in `names`.
    """
    data, mended = _find_object(text)
    answers: dict[str, ProgressLedgerItem] = {}
    for key in _KEYS:
        item = data.get(key)
        if not isinstance(item, Mapping):  # an answer without its reason is still an answer
            item, mended = {"answer": item}, True
        answer = item.get("answer")
        if key in QUESTIONS:
            word = _WORDS.get(str(answer).strip().lower()) if not isinstance(answer, bool) else answer
            if word is None:
                raise ValueError(f"{key}.answer must be true or false, not {json.dumps(answer, default=str)}")
            mended |= word is not answer
            answer = word
        else:
            answer = "" if answer is None else str(answer)
        answers[key] = ProgressLedgerItem(reason=str(item.get("reason") or ""), answer=answer)
    ledger = ProgressLedger(**answers)
    if ledger.is_request_satisfied.answer is True:
        return ledger, mended  # nobody speaks next
    asked = str(ledger.next_speaker.answer)
    ledger.next_speaker.answer = _normalise(asked, names)
    if not str(ledger.instruction_or_question.answer).strip():
        raise ValueError("instruction_or_question.answer must say what the next speaker should do")
    return ledger, mended or ledger.next_speaker.answer != asked


def _normalise(speaker: str, names: Collection[str]) -> str:
    def plain(name: str) -> str:
        return re.sub(r"[^0-9a-z]", "", name.casefold())

    matches = [name for name in names if name == speaker] or [n for n in names if plain(n) == plain(speaker)]
    if len(matches) != 1:
        raise ValueError(f"next_speaker.answer must be one of {', '.join(names)}, not {speaker!r}")
    return matches[0]


def _find_object(text: str) -> tuple[Mapping[str, Any], bool]:
    if len(text) > _LONGEST:
        raise ValueError(f"the reply has {len(text)} characters; a progress ledger is short")
    with suppress(ValueError, RecursionError):
        if isinstance(data := json.loads(text), Mapping):
            return data, False
    start = text.find("{")
    while start >= 0:
        try:
            data, _ = json.JSONDecoder().raw_decode(text, start)
            if any(key in data for key in _KEYS):
                return data, True
        except (ValueError, RecursionError):
            if start > 5_000:
                break
        start = text.find("{", start + 1)
    # YAML's flow style reads what JSON does not: single quotes, trailing commas, True and False.
    first, last = text.find("{"), text.rfind("}")
    with suppress(yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):  # as for `!!bool x`
        data = yaml.safe_load(text[first : last + 1]) if 0 <= first < last else None
        if isinstance(data, Mapping) and any(key in data for key in _KEYS):
            return data, True
    raise ValueError("the reply must be one JSON object with the five keys that were asked for")
