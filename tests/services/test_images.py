"""An image in a task by the wire formats of those connectors whose SDK is there."""

from __future__ import annotations

import base64
import importlib.util
import json
from typing import Any

import pytest
from runs.test_task_contents import IMAGE, message
from support.provider_servers import SDK, ProviderServer
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
    with ProviderServer(provider, real_brain(("Ada",))) as server:
        server.prepare(monkeypatch)
        made = real_team("x", names=("Ada",), limits={"retries": 0})
        made["services"]["default"] = {**server.service(), "structured_output": "prompt"}
        async with TeamFactory.from_dict(made) as factory:
            if provider == "mistral":
                service: Any = factory.blueprint.service("default")
                service.async_client.sdk_configuration.server_url = server.url
            result = await factory.run(message(), out=None)
    bodies = [json.dumps(body) for body in server.bodies]
    assert result.outcome == "satisfied", result.error
    # Google's SDK writes base64 for URLs.
    written = [encode(IMAGE).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    assert bodies and all(any(image in body for image in written) for body in bodies)
