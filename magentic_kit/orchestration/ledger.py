"""The progress ledger as models really write it: read leniently, judged strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from semantic_kernel.agents.orchestration.magentic import ProgressLedger, ProgressLedgerItem

QUESTIONS = ("is_request_satisfied", "is_in_loop", "is_progress_being_made")
"""The ledger's yes-or-no questions; the other two answers are texts."""
KEYS = (*QUESTIONS, "next_speaker", "instruction_or_question")
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_LONGEST = 200_000
_LONGEST_REPAIR = 20_000
"""Characters that json-repair is given; its time grows with the square of what is wrong."""
_MOST_DRAFTS = 3
"""How many objects that are no JSON are repaired; the last ones, as the last whole one counts."""
_COMMENT = r"//[^\n]{0,500}\n|/\*(?:(?!\*/).){0,500}\*/"
"""Ends in one place alone and is short: no text makes the search for a beginning try many ways to read it."""
_BEGINNING = re.compile(rf"\{{(?:\s|\\n|{_COMMENT})*\\*[\"'“”]?(?:{'|'.join(KEYS)})\b", re.DOTALL)
"""The beginning of an object that has one of the keys first."""


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


def ledger_tiers(settings: type[BaseModel], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Tier -> execution settings that ask for a ledger in it."""
    return tier_settings(settings, ledger_schema(names), name="progress_ledger", strict=True)


def tier_settings(
    settings: type[BaseModel], schema: Mapping[str, Any], *, name: str, strict: bool
) -> dict[str, dict[str, Any]]:
    """Tier -> execution settings that ask for it, strictest first, of those that this connector's settings know.

    `name` is what providers are told that the schema is called, `strict` whether they can be asked to hold to it.
    """
    known = settings.model_fields
    tiers: dict[str, dict[str, Any]] = {}
    if "response_format" in known:  # OpenAI and what is compatible with it, Mistral, Azure AI Inference
        wrapped = {"name": name, "strict": strict, "schema": schema}
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
    """The ledger in a model's reply, and whether it had to be repaired to be read.

    Read are: fences, words and comments around and inside the JSON, a list around it, single quotes, trailing
    commas, a ledger as the text of another object, booleans as words, names in another case, a reply whose end
    was cut off after the last answer. Of several whole ledgers the last counts. Raises `ValueError` with a
    sentence for the model when one of the five keys is missing, a yes-or-no answer is no boolean, or nobody in
    `names` is named.
    """
    data, repaired = _find_ledger(text)
    answers: dict[str, ProgressLedgerItem] = {}
    for key in KEYS:
        item = data[key]
        if not isinstance(item, Mapping):  # an answer without its reason is still an answer
            item, repaired = {"answer": item}, True
        answer = item.get("answer")
        if isinstance(answer, Mapping | list):
            raise ValueError(f"{key}.answer must be a single value")
        if key in QUESTIONS:
            word = answer if isinstance(answer, bool) else _WORDS.get(str(answer).strip().lower())
            if word is None:
                raise ValueError(f"{key}.answer must be true or false, not {json.dumps(answer, default=str)[:200]}")
            repaired |= word is not answer
            answer = word
        else:
            answer = "" if answer is None else str(answer)
        answers[key] = ProgressLedgerItem(reason=str(item.get("reason") or ""), answer=answer)
    ledger = ProgressLedger(**answers)
    if ledger.is_request_satisfied.answer is True:
        return ledger, repaired  # nobody speaks next
    asked = str(ledger.next_speaker.answer)
    ledger.next_speaker.answer = _normalise(asked, names)
    if not str(ledger.instruction_or_question.answer).strip():
        raise ValueError("instruction_or_question.answer must say what the next speaker should do")
    return ledger, repaired or ledger.next_speaker.answer != asked


def _normalise(speaker: str, names: Collection[str]) -> str:
    def plain(name: str) -> str:
        return re.sub(r"[^0-9a-z]", "", name.casefold())

    matches = [name for name in names if name == speaker] or [n for n in names if plain(n) == plain(speaker)]
    if len(matches) != 1:
        raise ValueError(f"next_speaker.answer must be one of {', '.join(names)}, not {speaker[:200]!r}")
    return matches[0]


def _find_ledger(text: str) -> tuple[Mapping[str, Any], bool]:
    """The last object in the text that has all five keys, and whether the text was anything but that object."""
    if len(text) > _LONGEST:
        raise ValueError(f"the reply has {len(text)} characters; a progress ledger is short")
    with suppress(ValueError, RecursionError):
        data = json.loads(text)
        if isinstance(data, Mapping) and not _lacks(data):
            return data, False
    nearest: Mapping[str, Any] = {}
    for objects in (_parsed(text), _begun(text), _repaired(text)):
        found = [data for data in objects if len(_lacks(data)) < len(KEYS)]
        whole = [data for data in found if not _lacks(data)]
        if whole:
            return whole[-1], True
        nearest = min([*found, nearest], key=lambda data: len(_lacks(data)))
    if nearest:
        raise ValueError(f"the JSON object lacks {', '.join(_lacks(nearest))}")
    raise ValueError("the reply must be one JSON object with the five keys that were asked for")


def _parsed(text: str) -> Iterator[Mapping[str, Any]]:
    with suppress(ValueError, RecursionError):
        yield from _objects(json.loads(text))


def _begun(text: str) -> Iterator[Mapping[str, Any]]:
    """The objects that begin with one of the keys, wherever they stand; those that are no JSON repaired."""
    end, starts = 0, [match.start() for match in _BEGINNING.finditer(text)]
    for start in starts:
        if start < end:
            continue
        try:
            data, end = json.JSONDecoder().raw_decode(text, start)
            yield from _objects(data)
        except (ValueError, RecursionError):
            if start in starts[-_MOST_DRAFTS:]:
                yield from _repaired(text[start:])


def _repaired(text: str) -> Iterator[Mapping[str, Any]]:
    if not any(key in text for key in KEYS):
        return
    import json_repair  # only here: few replies need it

    try:
        data = json_repair.loads(text[:_LONGEST_REPAIR])
    except Exception:  # a repair of any text at all may run into anything
        return
    yield from _objects(data)


def _objects(data: object, *, depth: int = 4) -> Iterator[Mapping[str, Any]]:
    """The objects in parsed JSON, also those in lists, in other objects, and in texts."""
    match data:
        case Mapping():
            yield data
            inner = [] if any(key in data for key in KEYS) else [*data.values()]
        case list():
            inner = data
        case str() if "{" in data:
            yield from _parsed(data)
            yield from _begun(data)
            return
        case _:
            return
    for item in inner if depth else ():
        yield from _objects(item, depth=depth - 1)


def _lacks(data: Mapping[str, Any]) -> list[str]:
    return [key for key in KEYS if key not in data]
