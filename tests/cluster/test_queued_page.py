"""Queued runs on the live page: listed, followed, answered, cancelled and let go on, as far as its database answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.cluster import at_work, state, team
from support.openai_server import OpenAIServer
from support.page_server import page_over_http

from magentic_kit import TeamFactory
from magentic_kit.cluster.database import Database

pytestmark = pytest.mark.slow


async def test_a_queued_run_is_followed_and_answered_on_the_page(
    database: Database, tmp_path: Path, server: OpenAIServer
) -> None:
    def submit(factory: TeamFactory, id: str) -> None:
        database.submit(factory, "job <b>", id=id)

    reviewed = team(tmp_path, server, review={"plan": True, "tools": ["notes.*"]})
    await asyncio.to_thread(submit, reviewed, "run")
    await asyncio.to_thread(submit, reviewed, "other")
    async with page_over_http([], tmp_path / "runs", database=database) as page:
        home = (await page.client.get("/")).text
        assert 'href="/queued/run"' in home and home.count('class="outcome queued"') == 2
        assert (await page.client.get("/?q=othe")).text.count('class="outcome queued"') == 1
        waits = (await page.client.get("/queued/run")).text
        assert "It waits for a worker." in waits and "job &lt;b&gt;" in waits and "Cancel the run" in waits
        assert (await page.client.get("/queued/none")).status_code == 404
        assert (await page.client.post("/queued/other/stop", data={"csrf": "0"})).status_code == 403
        assert (await page.post("/queued/other/stop")).status_code == 303
        assert await asyncio.to_thread(state, database, "other") == "cancelled"
        assert "Let it go on" in (await page.client.get("/queued/other")).text

        with at_work(database):
            answers = [
                {"decision": "deny", "words": ""},
                {"decision": "revise", "words": "shorter <i>"},
                {"decision": "approve", "words": ""},
                {"decision": "deny", "words": "not this one"},
                {"decision": "approve-for-run", "words": ""},
            ]
            statuses, asked, seen = [], [], set()
            async with page.parts("/queued/run/events") as parts:
                async for _, name, html in parts:
                    if name.startswith("ask-") and html and name not in asked:
                        asked.append(name)
                        if len(asked) == 1:
                            assert "A plan waits for your review" in html and "the plan of job &lt;b&gt;" in html
                            assert "1 waiting for you" in (await page.client.get("/")).text
                            refused = await page.post(f"/queued/run/questions/{name[4:]}", **answers.pop(0))
                            assert refused.status_code == 409 and "approve or revise or reject" in refused.text
                        given = await page.post(f"/queued/run/questions/{name[4:]}", **answers.pop(0))
                        statuses.append(given.status_code)
                    seen.add(name)
                    if name == "head" and 'data-outcome="satisfied"' in html:
                        break
            assert statuses == [303] * 4 and not answers and {"round-1", "round-2", "timeline"} <= seen
            assert "shorter" in str(server.requests)
            late = await page.post("/queued/run/questions/1", decision="approve")
            assert late.status_code == 409 and "answered already" in late.text
            assert (await page.post("/queued/other/retry")).status_code == 303
            async with page.parts("/queued/other/events") as parts:
                async for _, name, html in parts:
                    if name == "ask-1" and html:
                        break
        assert (tmp_path / "effects").read_text() == "job <b>/two\njob <b>/three\n"
