"""The live page of a server of others' clients: for its operator alone, who sees and ends what they have begun."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIError, AsyncOpenAI
from support.openai_server import Reply
from support.page_server import opened, quick_team
from support.served_app import brain, served

from magentic_kit import ConfigError, TeamFactory
from magentic_kit.serve.app import create_app
from magentic_kit.serve.guard import Access
from magentic_kit.serve.page.security import Keys
from magentic_kit.serve.teams import ServerOptions

TOKEN = "a-token-of-this-test"
STOP = "/page/runs/RUN/stop"
OURS = {"Origin": "OWN", "Cookie": "COOKIE", "Content-Type": "application/x-www-form-urlencoded"}
ATTEMPTS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "no cookie": ("GET", "/page/", {}, 401),
    "no cookie, a run": ("GET", "/page/runs/RUN", {}, 401),
    "no cookie, events": ("GET", "/page/runs/RUN/events", {}, 401),
    "the clients' token": ("GET", "/page/", {"Authorization": f"Bearer {TOKEN}"}, 401),
    "a wrong token": ("GET", "/page/?token=a-token-of-this-tesT", {}, 401),
    "a foreign host": ("GET", "/page/", {"Host": "evil.example", "Cookie": "COOKIE"}, 421),
    "a page elsewhere": ("GET", "/page/events", {"Origin": "http://evil.example", "Cookie": "COOKIE"}, 403),
    "a cross-site form": ("POST", STOP, {**OURS, "Origin": "http://evil.example"}, 403),
    "a form from nowhere": ("POST", STOP, {**OURS, "Origin": "null"}, 403),
    "a form without the cookie": ("POST", STOP, {**OURS, "Cookie": ""}, 401),
    "a form without its secret": ("POST", STOP, OURS, 403),
    "JSON": ("POST", STOP, {**OURS, "Content-Type": "application/json"}, 415),
    "the cookie in a client's place": ("GET", "/v1/models", {"Cookie": "COOKIE"}, 401),
    "the page's token in a client's place": ("GET", f"/v1/models?token={TOKEN}", {}, 401),
}


async def test_the_operator_alone_sees_and_ends_the_run_of_a_client(tmp_path: Path) -> None:
    keys, asks = Keys(TOKEN), brain(Reply("a b c d", hang="in_stream"))
    access = Access.of("127.0.0.1", token=TOKEN)
    async with (
        served(tmp_path, asks, access=access, page=keys) as to,
        AsyncOpenAI(base_url=f"{to.url}/v1", api_key=TOKEN, max_retries=0) as client,
        opened(to.url, keys, "/page") as page,
    ):
        said: Any = [{"role": "user", "content": "Tell me <b>all</b>"}]
        asking = asyncio.ensure_future(client.chat.completions.create(model="desk-team", messages=said))
        await to.models.reached(lambda models: models.hanging)
        (run,) = [path.name for path in to.out.iterdir()]
        home = (await page.client.get("/")).text
        assert f'href="/page/runs/{run}"' in home and "at work" in home
        async with page.parts(f"/runs/{run}/events") as parts:
            async for _, name, text in parts:
                if name == "text" and "a b" in text:  # as it streams, which no log has
                    break

        statuses = {}
        jar = next(iter(page.client.cookies.jar))
        async with httpx.AsyncClient(base_url=to.url) as stranger:
            for attempt, (method, path, headers, _) in ATTEMPTS.items():
                sent = {name: value.replace("OWN", to.url) for name, value in headers.items()}
                if headers.get("Cookie"):
                    sent["Cookie"] = f"{jar.name}={jar.value}"
                answer = await stranger.request(method, path.replace("RUN", run), headers=sent)
                statuses[attempt] = answer.status_code
        assert statuses == {attempt: expected[-1] for attempt, expected in ATTEMPTS.items()}
        assert to.models.hanging and not asking.done()

        assert (await page.post(f"/runs/{run}/stop")).headers["location"] == f"/page/runs/{run}"
        with pytest.raises(APIError):
            await asking
        assert to.outcomes == ["cancelled"]
        shown = (await page.client.get(f"/runs/{run}")).text
        assert 'data-outcome="cancelled"' in shown and "Tell me &lt;b&gt;all&lt;/b&gt;" in shown
        addresses = set(re.findall('(?:href|action)="([^#"][^"]*)"', shown))
        assert addresses and all(address.startswith("/page/") for address in addresses)


async def test_a_page_needs_a_folder_for_the_runs(tmp_path: Path) -> None:
    async with TeamFactory.from_yaml(quick_team(tmp_path)) as factory:
        with pytest.raises(ConfigError, match="needs a folder"):
            create_app([factory], ServerOptions(out=None), page=Keys())
