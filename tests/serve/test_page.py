"""The live page: who may use it, what it sends to whom, and what a person decides there."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest
from runs.test_task_contents import IMAGE
from support.page_server import LONG, Page, charge_team, page_over_http, quick_team
from support.sample_events import HOSTILE, satisfied
from views.test_html import long_run

from magentic_kit import events as ev
from magentic_kit.runlog.directory import Journal
from magentic_kit.runlog.reader import read_log
from magentic_kit.serve.page import pages
from magentic_kit.serve.page.feed import Feed
from magentic_kit.serve.page.rendering import Site
from magentic_kit.serve.page.run_feed import RunFeed
from magentic_kit.serve.page.teams import find_teams

RUN = "/teams/quick/run"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


async def outcome(page: Page, response: httpx.Response) -> str:
    """How the run ends to whose page a form has led."""
    assert response.status_code == 303, response.text
    path = response.headers["location"]
    async with page.parts(f"{path}/events") as parts:
        async for _, name, html in parts:
            ended = re.search('data-outcome="(?!live|unfinished)([a-z]+)"', html) if name == "head" else None
            if ended:
                return ended[1]
    return ""


ATTEMPTS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "no cookie": ("GET", "/", {"cookies": None}, 401),
    "no cookie, events": ("GET", "/events", {"cookies": None}, 401),
    "a wrong token": ("GET", "/?token=0123456789abcdef0123", {"cookies": None}, 401),
    "an empty token": ("GET", "/?token=", {"cookies": None}, 401),
    "a wrong cookie": ("GET", "/", {"cookies": "0" * 64}, 401),
    "the token as the cookie": ("GET", "/", {"cookies": "TOKEN"}, 401),
    "a foreign host": ("GET", "/", {"headers": {"Host": "evil.example"}}, 421),
    "a host that begins like ours": ("GET", "/", {"headers": {"Host": "127.0.0.1.evil.example"}}, 421),
    "no host's name": ("GET", "/", {"headers": {"Host": "a b"}}, 400),
    "a page of another origin looks": ("GET", "/events", {"headers": {"Origin": "http://evil.example"}}, 403),
    "a cross-site form": ("POST", RUN, {"headers": {"Origin": "http://evil.example"}}, 403),
    "a form of another port": ("POST", RUN, {"headers": {"Origin": "http://127.0.0.1:1"}}, 403),
    "a form from nowhere": ("POST", RUN, {"headers": {"Origin": "null"}}, 403),
    "a form without an origin": ("POST", RUN, {"headers": {}}, 403),
    "a form of another site, as the browser says": (
        "POST",
        RUN,
        {"headers": {"Origin": "OWN", "Sec-Fetch-Site": "cross-site"}},
        403,
    ),
    "a form without what ours send": ("POST", RUN, {"headers": {"Origin": "OWN"}, "data": {"task": "x"}}, 403),
    "a form with a wrong secret": ("POST", RUN, {"headers": {"Origin": "OWN"}, "data": {"csrf": "0" * 64}}, 403),
    "no cookie, but all else": ("POST", RUN, {"headers": {"Origin": "OWN"}, "cookies": None}, 401),
    "JSON": ("POST", RUN, {"headers": {"Origin": "OWN", "Content-Type": "application/json"}}, 415),
    "plain text": ("POST", RUN, {"headers": {"Origin": "OWN", "Content-Type": "text/plain"}}, 415),
    "an endless form": ("POST", RUN, {"headers": {"Origin": "OWN"}, "data": {"csrf": "OK", "task": "x" * 2**22}}, 400),
    "an endless answer": (
        "POST",
        "/runs/x/stop",
        {"headers": {"Origin": "OWN"}, "data": {"csrf": "OK", "words": "x" * 2**22}},
        413,
    ),
    "an endless file": ("POST", RUN, {"headers": {"Origin": "OWN"}, "files": 2**27}, 413),
    "the form by GET": ("GET", RUN, {}, 405),
    "a run outside of the folder": ("GET", "/runs/..%2f..%2fetc", {}, 404),
}


async def test_whoever_has_not_opened_the_page_or_comes_from_elsewhere_starts_nothing(tmp_path: Path) -> None:
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        jar = next(iter(page.client.cookies.jar))
        answers = {}
        for attempt, (method, path, options, _) in ATTEMPTS.items():
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
            files = None
            if "files" in options:
                headers, files = {}, {"file": ("large.txt", b"x" * options["files"])}
            headers |= {k: v.replace("OWN", page.url) for k, v in options.get("headers", {}).items()}
            value = options.get("cookies", jar.value)
            if value is not None:
                headers["Cookie"] = f"{jar.name}={value.replace('TOKEN', page.keys.token)}"
            data = {"csrf": page.keys.csrf, **options.get("data", {})} if method == "POST" else None
            if data and data["csrf"] == "OK":
                data["csrf"] = page.keys.csrf
            if "without what ours send" in attempt:
                del data["csrf"]  # type: ignore[index,union-attr]
            async with httpx.AsyncClient(base_url=page.url) as stranger:
                answers[attempt] = (
                    await stranger.request(method, path, headers=headers, data=data, files=files)
                ).status_code
        assert answers == {attempt: expected[-1] for attempt, expected in ATTEMPTS.items()}
        assert not (tmp_path / "runs").exists()
        begun = await page.post(RUN, task="Now")  # while our own form begins a run
        assert await outcome(page, begun) == "satisfied"


async def test_the_token_is_turned_into_a_cookie_that_no_other_site_can_use(tmp_path: Path) -> None:
    async with page_over_http([], tmp_path / "runs") as page:
        answer = await page.client.get("/?q=a&token=" + page.keys.token, cookies={})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=a")
        elsewhere = await page.client.get(f"{page.url}//evil.example/?token={page.keys.token}")
        assert elsewhere.headers["location"] == "/evil.example/"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and page.keys.token not in cookie
        home = await page.client.get("/")
        policy = home.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and home.headers["cache-control"] == "no-store"


async def test_a_reader_who_comes_late_or_again_gets_what_it_has_not(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with page_over_http([charge_team(tmp_path)], tmp_path / "runs") as page:
        begun = await page.post("/teams/charge/run", task="")
        path = begun.headers["location"]
        async with page.parts(f"{path}/events") as parts:
            seen = {}
            async for last, name, html in parts:
                seen[name], place = html, last
                if name == "ask-1" and "Is this plan good?" in html:
                    break
        assert {"head", "answer", "now"} <= {*seen}
        shown = (await page.client.get(path)).text
        assert "Clerk notes." in shown and "Take notes in 2025." in shown
        await page.post(f"{path}/questions/1", decision="revise", words="Twice, please.")
        async with page.parts(f"{path}/events", place) as parts:
            names = []
            async for _, name, html in parts:
                names.append((name, bool(html)))
                if {("ask-1", False), ("ask-2", True)} <= {*names}:  # the question that was answered is gone
                    break
        assert "Twice, please." in (await page.client.get(path)).text
        late = await page.post(f"{path}/questions/1", decision="approve")
        assert late.status_code == 409 and "answered already" in late.text
        await page.post(f"{path}/stop")


async def test_a_person_sees_a_call_whole_and_what_it_decides_happens(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with page_over_http([charge_team(tmp_path)], tmp_path / "runs") as page:
        begun = await page.post("/teams/charge/run", task="Note <b>all</b>")
        path, asked = begun.headers["location"], {}
        decisions = {
            "ask-1": {"decision": "approve"},
            "ask-2": {"decision": "approve"},
            "ask-3": {"decision": "deny", "words": "Too long."},
            "ask-4": {"words": "Yes."},
        }
        async with page.parts(f"{path}/events") as parts:
            async for _, name, html in parts:
                if name in decisions and html:
                    asked[name] = html
                    await page.post(f"{path}/questions/{name[4:]}", **decisions.pop(name))
                if name == "head" and 'data-outcome="satisfied"' in html:
                    break
        assert LONG in asked["ask-3"] and "5,013 characters" in asked["ask-3"]
        assert "The clerk is **done**" in asked["ask-4"]
        assert "Actor" not in asked["ask-4"] and ">manager</h3>" in asked["ask-4"]
        assert (tmp_path / "notes.txt").read_text() == "one\n"
        shown = (await page.client.get(path)).text
        assert "Note &lt;b&gt;all&lt;/b&gt;" in shown and "Too long." in shown
        assert "All is <strong>noted</strong>." in shown


async def test_what_is_wrong_is_said_on_the_form_that_was_sent(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\nagents: [{name: A, description: d, instruction: x}]\n")
    async with page_over_http([quick_team(tmp_path), broken], tmp_path / "runs") as page:
        assert "problem" in (await page.client.get("/")).text
        shown = (await page.client.get("/teams/broken")).text
        assert "broken.yaml:2:" in shown and "instruction" in shown
        refused = await page.post("/teams/quick/run", **{"task": "x", "limit.max_rounds": "many"})
        assert refused.status_code == 422 and "max_rounds" in refused.text and 'value="many"' in refused.text
        refused = await page.post("/teams/quick/run", task=" ")
        assert refused.status_code == 422 and "there is no task" in refused.text


async def test_a_plan_is_made_edited_and_carried_out(tmp_path: Path) -> None:
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        draft = (await page.post(RUN, task="Plan this", how="plan")).headers["location"]
        while "Carry out this plan" not in (shown := (await page.client.get(draft)).text):
            assert "The manager makes the plan" in shown
            await asyncio.sleep(0)
        begun = await page.post(draft, facts="We know.", plan="- My own plan")
        assert await outcome(page, begun) == "satisfied"
        assert "My own plan" in (await page.client.get(begun.headers["location"])).text


async def test_files_go_with_a_task_and_a_question_follows_the_answer(tmp_path: Path) -> None:
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        files = [("file", ("../../no tes.txt", b"The shop is closed.")), ("file", ("", b""))]
        begun = await page.post(RUN, files, task="Read the notes")
        assert await outcome(page, begun) == "satisfied"
        shown = (await page.client.get(begun.headers["location"])).text
        assert "no tes.txt" in shown and "Ask a follow-up question" in shown
        first = begun.headers["location"].rpartition("/")[2]
        followed = await page.post(f"/runs/{first}/follow", task="And tomorrow?")
        assert await outcome(page, followed) == "satisfied"
        assert f'Follows the run <a href="/runs/{first}">' in (await page.client.get(followed.headers["location"])).text
        empty = await page.post(RUN, [("file", ("empty.txt", b""))], task="Read")
        assert empty.status_code == 422 and "<code>empty.txt</code> cannot be attached: there is no text" in empty.text
        draft = await page.post(RUN, [("file", ("empty.txt", b""))], task="Read", how="plan")
        while "there is no text in it" not in (shown := (await page.client.get(draft.headers["location"])).text):
            await asyncio.sleep(0)
        assert "<code>empty.txt</code>" in shown


async def test_a_sent_file_keeps_its_name_and_where_it_was_kept_is_told_nowhere(tmp_path: Path) -> None:
    long = "字" * 100
    names = {
        "Q3 & Q4, 50% [final] #2.txt": "Q3 & Q4, 50% [final] #2.txt",
        "C:\\Users\\Al\\notes.txt": "notes.txt",
        f"{long}.txt": f"{long[:83]}.txt",  # as long as a name can be, from its end
        "what?.txt": "what_.txt",
        "..": "file",
        "pixel.png": "pixel.png",
    }
    contents = {"pixel.png": IMAGE}
    files = [("file", (sent, contents.get(sent, sent.encode()))) for sent in names]
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        begun = await page.post(RUN, files, task="Read")
        assert await outcome(page, begun) == "satisfied"
        run_dir = tmp_path / "runs" / begun.headers["location"].rpartition("/")[2]
        (started,) = [event for event in read_log(run_dir)[0] if isinstance(event, ev.RunStarted)]
        assert [one["name"] for one in started.attachments] == list(names.values())
        written = b"".join(path.read_bytes() for path in run_dir.rglob("*") if path.is_file())
        shown = (await page.client.get(begun.headers["location"])).text
        assert b"magentic-kit-" not in written and "magentic-kit-" not in shown


async def test_a_run_that_a_limit_ended_goes_on_with_more_and_again_with_other_words(tmp_path: Path) -> None:
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        begun = await page.post(RUN, **{"task": "Go on", "limit.max_tokens": "1"})
        path = begun.headers["location"]
        assert await outcome(page, begun) == "limited"
        refused = await page.post(f"{path}/resume")
        assert "raise it with --max-tokens" in (await page.client.get(refused.headers["location"])).text
        resumed = await page.post(f"{path}/resume", **{"limit.max_tokens": "100000"})
        assert await outcome(page, resumed) == "satisfied"
        form = (await page.client.get(f"{path}/again")).text
        assert "Instructions of Solo" in form
        again = await page.post(f"{path}/again", **{"task": "Go on", "edit.Solo": "Be brief."})
        assert await outcome(page, again) == "satisfied"
        assert again.headers["location"] != path
        names = [path.rpartition("/")[2], again.headers["location"].rpartition("/")[2]]
        compared = await page.client.get("/compare", params={"run": names})
        assert compared.status_code == 200 and all(name in compared.text for name in names)
        assert (await page.client.get("/compare", params={"run": names[:1]})).status_code == 422
        assert names[0] in (await page.client.get("/", params={"q": "GO quick"})).text
        assert names[0] not in (await page.client.get("/", params={"q": "elsewhere"})).text


async def test_a_run_of_another_process_appears_and_is_followed(tmp_path: Path) -> None:
    events = [event for event in satisfied() if event.logged]
    async with page_over_http([], tmp_path / "runs") as page:
        journal = Journal.create(tmp_path / "runs", "20250601T120000Z-sales-abcdef")
        for event in events[:12]:
            journal.write(event)
        async with page.parts("/events") as parts:
            async for _, _, html in parts:
                if "20250601T120000Z-sales-abcdef" in html:
                    break
        async with page.parts("/runs/20250601T120000Z-sales-abcdef/events") as parts:
            async for _, name, _ in parts:
                if name == "round-1":
                    break
            for event in events[12:]:
                journal.write(event)
            async for _, name, html in parts:
                if name == "answer" and "new stores" in html:
                    break
        journal.close()


async def test_a_log_that_is_damaged_is_said_to_be_so_and_takes_no_other_with_it(tmp_path: Path) -> None:
    names = ["20250601T120000Z-sales-000001", "20250601T120000Z-sales-000002"]
    for name in names:
        journal = Journal.create(tmp_path / "runs", name)
        for event in satisfied():
            if event.logged:
                journal.write(event)
        journal.close()
    log = tmp_path / "runs" / names[0] / "events.jsonl"
    log.write_text(log.read_text().replace("North", "South"))
    async with page_over_http([], tmp_path / "runs") as page:
        home = (await page.client.get("/")).text
        assert home.count('class="outcome damaged"') == home.count('class="outcome satisfied"') == 1
        assert "the log is damaged" in (await page.client.get(f"/runs/{names[0]}")).text
        assert "new stores" in (await page.client.get(f"/runs/{names[1]}")).text
        compared = await page.client.get("/compare", params={"run": names})
        assert compared.status_code == 422 and "the log is damaged" in compared.text


async def test_a_slow_reader_misses_states_in_between_and_nobody_waits_for_it() -> None:
    feed = Feed()
    for number in range(10_000):
        feed.put("head", f"<p id=head>{number}</p>")
        feed.put(f"round-{number % 5}", f"<p>{number}</p>")
    parts = feed.parts()
    assert len(parts) == 6 and parts[-1][0] == feed.version == 20_000
    assert [version for version, _, _ in parts] == sorted(version for version, _, _ in parts)
    assert feed.parts(f"{feed.epoch}.{feed.version - 1}") == parts[-1:]
    assert feed.parts("elsewhere.20000") == feed.parts(f"{feed.epoch}.nonsense") == parts


def never_reads(page: Page, path: str) -> socket.socket:
    """Asks for the events of a page, and takes none."""
    cookie = next(iter(page.client.cookies.jar))
    host, port = page.client.base_url.host, page.client.base_url.port
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    silent.connect((host, port))
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie.name}={cookie.value}\r\n\r\n"
    silent.sendall(head.encode())
    return silent


async def test_a_hundred_readers_that_do_not_read_on_cost_one_batch_each_whatever_happens() -> None:
    """Memory is counted, not time: what a reader waits with is bounded, and a change is kept once for all of them."""
    feed = Feed()

    def change(number: int) -> None:
        for part in range(40):
            feed.put(f"round-{part}", f"{number}: {part} ".ljust(20_000, "x"))
        feed.changed()

    change(0)
    tracemalloc.start()
    try:
        readers = [feed.follow("") for _ in range(100)]
        batches = [len((await anext(reader)).data) for reader in readers]
        waiting = tracemalloc.get_traced_memory()[0]
        for number in range(1, 51):  # forty megabytes
            change(number)
        grown = tracemalloc.get_traced_memory()[0] - waiting
    finally:
        tracemalloc.stop()
    assert max(batches) < 100_000 and waiting < 2 * sum(batches) + feed.size
    assert grown < 2 * feed.size
    seen: dict[str, str] = {}
    readers.append(feed.follow(""))
    async for event in readers[-1]:  # whoever comes now gets the newest state, and no state in between
        seen.update(json.loads(event.data))
        if len(seen) == 40:
            break
    assert all(html.startswith("50: ") for html in seen.values())
    for reader in readers:
        await reader.aclose()
    assert not feed.readers and Feed.watched == 0


async def test_a_reader_that_never_reads_is_left_and_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SEND_TIMEOUT", 0.2)
    name = "20250601T120000Z-sales-000200"
    journal = Journal.create(tmp_path / "runs", name)
    for event in long_run(100):
        journal.write(event)
    journal.close()
    async with page_over_http([], tmp_path / "runs") as page:
        silent = never_reads(page, f"/runs/{name}/events")
        while Feed.watched == 0:
            await asyncio.sleep(0)
        async with page.parts(f"/runs/{name}/events") as parts:  # a reader beside it gets all
            rounds = set()
            async for _, part, _ in parts:
                rounds.add(part)
                if part == "round-100":
                    break
        while Feed.watched:  # both are gone, the silent one after its time
            await asyncio.sleep(0.01)
        silent.close()


@pytest.mark.slow
async def test_fifty_runs_at_once_each_with_two_readers_end_as_they_should(tmp_path: Path) -> None:
    async with page_over_http([quick_team(tmp_path)], tmp_path / "runs") as page:
        begun = await asyncio.gather(*(page.post(RUN, task=f"Task {number}") for number in range(50)))
        silent = [never_reads(page, f"{answer.headers['location']}/events") for answer in begun]
        readers = [outcome(page, answer) for answer in begun for _ in range(2)]
        assert await asyncio.gather(*readers) == ["satisfied"] * 100
        for one in silent:
            one.close()
        rows = (await page.client.get("/")).text
        assert rows.count('class="outcome satisfied"') == 50


async def test_hostile_text_is_text_in_every_part(tmp_path: Path) -> None:
    team = quick_team(tmp_path, name=HOSTILE.replace("\ud800", ""), description=HOSTILE.replace("\ud800", ""))
    async with page_over_http([team], tmp_path / "runs") as page:
        begun = await page.post(RUN, task=HOSTILE.replace("\ud800", ""))
        assert await outcome(page, begun) == "satisfied"
        paths = ["/", "/teams/quick", begun.headers["location"], "/?q=" + "%3Cscript%3Ealert(1)%3C/script%3E"]
        for path in paths:
            shown = (await page.client.get(path)).text
            assert "<script>alert" not in shown and "<img" not in shown and "<iframe" not in shown
            assert shown.count("<script>") == 1


def test_long_runs_are_cut_to_what_a_page_may_have(tmp_path: Path) -> None:
    async def size() -> int:
        feed = RunFeed(tmp_path, Site("", ""))
        for event in long_run(200):
            feed.record.apply(event)
        feed.render()
        return len(feed.page())

    assert asyncio.run(size()) < 5_000_000


def test_team_files_are_found_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    for place in ("one.yaml", "a/two.yml", "a/.hidden/three.yaml", "runs/four.yaml"):
        (tmp_path / place).write_text("name: x\nagents: []\n")
    (tmp_path / "other.yaml").write_text("name: x\n")
    assert [path.name for path in find_teams(tmp_path)] == ["one.yaml", "two.yml"]
