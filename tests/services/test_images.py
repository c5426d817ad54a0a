"""An image in a task by the wire formats of those connectors whose SDK is there."""

from __future__ import annotations

import base64
import importlib.util
from typing import Any

import pytest
from models.test_other_connectors import SDK, served
from runs.test_task_contents import IMAGE, message
from support.real_servers import brain as real_brain
from support.real_servers import team as real_team

from magentic_kit import TeamFactory


@pytest.mark.parametrize("provider", SDK)
async def test_an_image_reaches_the_wire_format_of(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        missing = importlib.util.find_spec(SDK[provider]) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        pytest.skip(f"needs {SDK[provider]}")
    bodies: list[str] = []
    with served(provider, real_brain(("Ada",)), lambda _: False, bodies=bodies) as (url, _):
        for name in ("ANTHROPIC_API_KEY", "GOOGLE_AI_API_KEY", "MISTRALAI_API_KEY"):
            monkeypatch.setenv(name, "k")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", url)
        made = real_team("x", names=("Ada",), limits={"retries": 0})
        made["services"]["default"] = {"provider": provider, "model": "m", "structured_output": "prompt"}
        if provider == "ollama":
            made["services"]["default"]["host"] = url
        async with TeamFactory.from_dict(made) as factory:
            if provider == "mistral":
                service: Any = factory.blueprint.service("default")
                service.async_client.sdk_configuration.server_url = url
            result = await factory.run(message(), out=None)
    assert result.outcome == "satisfied", result.error
    assert bodies and all(base64.b64encode(IMAGE).decode() in body for body in bodies)
