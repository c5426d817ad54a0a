"""`init`: a small project that runs offline at once, and with a real model when its key is there."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import distribution
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from magentic_kit.cli.files import write_new
from magentic_kit.cli.options import PATH
from magentic_kit.cli.output import say

PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "openai": ("gpt-4.1-mini", "OPENAI_API_KEY"),
    "azure_openai": ("gpt-4.1-mini", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    "ollama": ("qwen3:8b",),
    "anthropic": ("claude-sonnet-4-5", "ANTHROPIC_API_KEY"),
    "google": ("gemini-2.5-flash", "GOOGLE_AI_API_KEY"),
    "mistral": ("mistral-small-latest", "MISTRALAI_API_KEY"),
    "bedrock": ("amazon.nova-lite-v1:0", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
    "azure_ai_inference": ("gpt-4.1-mini", "AZURE_AI_INFERENCE_API_KEY", "AZURE_AI_INFERENCE_ENDPOINT"),
    "nvidia": ("meta/llama-3.1-8b-instruct", "NVIDIA_API_KEY"),
}
"""Provider -> a model to begin with, and the environment variables that have to be set."""

_EXTRAS = {
    "azure_openai": "azure",
    "azure_ai_inference": "azure",
    "ollama": "ollama",
    "anthropic": "anthropic",
    "google": "google",
    "mistral": "mistral",
    "bedrock": "bedrock",
}
"""Provider -> the extra that its connector needs."""

_TEMPLATE = Path(__file__).parent / "templates" / "project"


@click.command()
@click.argument("directory", type=PATH, default=Path(), metavar="[DIR]")
@click.option(
    "--provider",
    type=click.Choice(list(PROVIDERS)),
    metavar="P",
    help=f"Who serves the model: {', '.join(PROVIDERS)}; default: openai.",
)
@click.option("--model", help="Model to ask; default: one of the provider's.")
@click.option("--name", help="Name of the team; default: the directory's.")
def init(directory: Path, provider: str | None, model: str | None, name: str | None) -> None:
    """Write a small team into DIR (default: here): it runs offline at once, and with your model and key.

    Asks for provider and model on a terminal. Never overwrites a file.
    """
    provider = provider or _ask("Provider", "openai", PROVIDERS)
    suggested, *variables = PROVIDERS[provider]
    model = model or _ask("Model", suggested)
    name = name or directory.resolve().name or "team"
    files = _files(provider=provider, model=model, variables=variables, name=name, **_project(name, provider))
    write_new({directory / path: text for path, text in files.items()})
    say(f"wrote {len(files)} files; now:")
    if directory != Path():
        say(f"  cd {directory}")
    say(f"  {'uv run ' if which('uv') else ''}magentic-kit run team.yaml")


def _ask(what: str, default: str, choices: Collection[str] = ()) -> str:
    """Returns the answer of the person at the terminal; the default if it is empty, or nobody is there."""
    question = f"{what} ({', '.join(choices)}) [{default}]: " if choices else f"{what} [{default}]: "
    while sys.stdin.isatty():
        say(question, err=True, end="")
        line = sys.stdin.readline()
        if not line:
            raise click.Abort  # Ctrl-D
        answer = line.strip() or default
        if not choices or answer in choices:
            return answer
    return default


def _project(name: str, provider: str) -> dict[str, str]:
    """Returns the project's name as a distribution's, what it depends on, and where uv finds that."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    if words[-1:] != ["team"]:  # `pytest` or `magentic-kit` would depend on itself
        words.append("team")
    extra = _EXTRAS.get(provider)
    dependency = f"magentic-kit[{extra}]" if extra else "magentic-kit"
    return {"project": "-".join(words), "dependency": dependency, "source": _uv_source()}


def _uv_source() -> str:
    """Returns where this package was installed from, as uv has it in TOML; empty if it is from an index.

    A checkout, say, which may be all there is: the version may never have been released.
    """
    origin = json.loads(distribution("magentic-kit").read_text("direct_url.json") or "{}")  # PEP 610
    url = origin.get("url", "")
    if "vcs_info" in origin:
        return f"{{ git = {json.dumps(url)}, rev = {json.dumps(origin['vcs_info']['commit_id'])} }}"
    if not url.startswith("file:"):
        if url:
            return f"{{ url = {json.dumps(url)} }}"
        return ""
    path = json.dumps(url2pathname(urlsplit(url).path), ensure_ascii=False)
    editable = ", editable = true" if origin.get("dir_info", {}).get("editable") else ""
    return f"{{ path = {path}{editable} }}"


def _files(**values: Any) -> dict[str, str]:
    """Returns the project's files, as path -> text."""
    from jinja2 import Environment, StrictUndefined

    from magentic_kit.team.schema import team_schema

    templates = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    files = {"team.schema.json": json.dumps(team_schema(), indent=2, ensure_ascii=False) + "\n"}
    for source in sorted(path for path in _TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        path, text = source.relative_to(_TEMPLATE).as_posix().replace("dot-", "."), source.read_text(encoding="utf-8")
        if path.endswith(".j2"):
            path, text = path.removesuffix(".j2"), templates.from_string(text).render(values)
        files[path] = text
    return files
