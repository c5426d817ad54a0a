"""The live page in a real browser: a whole run with a person in charge, on one page and on two."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from support.browser import chromium
from support.page_server import LONG, charge_team
from support.sample_events import HOSTILE, hostile, satisfied
from views.test_html import long_run

from magentic_kit import events as ev
from magentic_kit.runlog.directory import Journal

pytestmark = pytest.mark.slow

SERIOUS = ("serious", "critical")
LONG_TASK = 200
"""Milliseconds, on a machine like those that people have; on a slower one, more by what the yardstick takes."""
MAIN = "CrRendererMain"
"""Chromium's name of the thread that a page runs in."""
TOKEN = "a-token-of-the-tests-0123"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts `magentic-kit ui` in the test's folder; it ends as a terminal ends it."""
    processes: list[subprocess.Popen[str]] = []
    readers: list[threading.Thread] = []

    def start(*arguments: str) -> str:
        command = [sys.executable, "-m", "magentic_kit", "ui", *arguments, "--no-open", "--token-env", "PAGE_TOKEN"]
        environment = {**os.environ, "PAGE_TOKEN": TOKEN}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                readers.append(threading.Thread(target=process.stderr.read, daemon=True))
                readers[-1].start()
                return found[0]
        raise AssertionError("the server did not start")

    yield start
    for process in processes:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    for process, reader in zip(processes, readers, strict=True):
        reader.join(30)
        assert process.stderr is not None
        process.stderr.close()


class Window:
    """A page in a browser of its own, that asks nobody but its server and has nothing to complain of."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        origin = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._request(request.url, origin))
        self.is_offline = False
        self.page.goto(address)

    def _console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not self.is_offline:
            self.complaints.append(text)

    def _request(self, url: str, origin: str) -> None:
        if not url.startswith(origin):
            self.complaints.append(f"asked for {url}")

    def close(self) -> None:
        """Closes it; it must not have complained."""
        assert self.complaints == []
        self.context.close()


@pytest.fixture
def window(browser: Any) -> Iterator[Callable[..., Window]]:
    windows: list[Window] = []

    def open_window(address: str, **options: Any) -> Window:
        windows.append(Window(browser, address, **options))
        return windows[-1]

    yield open_window
    for one in windows:
        one.close()


def test_a_person_is_in_charge_of_a_whole_run(tmp_path: Path, server: Any, window: Any) -> None:
    charge_team(tmp_path)
    address = server("charge.yaml", "--port", "0")
    one = window(address)
    page = one.page
    page.click("text=charge")
    page.fill("#task", "Note everything.")
    page.click("button[value=run]")
    page.wait_for_selector("#ask-1")
    assert page.title() == "● charge: waiting for you"
    page.fill("#ask-1 [name=words]", "Twice, please.")
    page.click("#ask-1 [value=revise]")
    page.wait_for_selector("#ask-2")
    assert page.locator("#ask-1").count() == 0

    other = window(f"{page.url}?token={TOKEN}", viewport=PHONE)
    other.page.wait_for_selector("#ask-2")  # the other browser has the same question, and answers it
    other.page.click("#ask-2 [value=approve]")
    page.wait_for_selector("#ask-3")
    assert page.locator("#ask-2").count() == 0
    page.reload()
    page.click("#ask-3 [value=approve]")
    page.wait_for_selector("#ask-4")
    assert page.locator("#ask-4 pre").inner_text() == LONG
    page.fill("#ask-4 [name=words]", "Too long.")
    one.is_offline = True
    one.context.set_offline(True)  # the connection is lost; what happens meanwhile is there when it is back
    other.page.fill("#ask-4 [name=words]", "Too long.")
    other.page.click("#ask-4 [value=deny]")
    other.page.wait_for_selector(".bar.tool.open", state="attached")
    one.context.set_offline(False)
    page.wait_for_selector("#ask-4", state="detached")
    one.is_offline = False

    page.click("text=Stop the run")
    page.wait_for_selector("body.cancelled")
    assert page.title() == "charge: cancelled"
    (tmp_path / "go").touch()
    page.click("#resume > summary")
    page.click("text=Resume >> nth=-1")
    page.wait_for_selector("#controls [role=alert] >> text=desk.wait")  # nobody knows whether it had its effect
    page.check("#resume [value=repeat]")
    page.click("#resume button")
    page.wait_for_selector("#ask-1 >> text=it is your turn")
    page.fill("#ask-1 textarea", "Yes, well done.")
    page.click("#ask-1 button")
    page.wait_for_selector("body.satisfied")
    other.page.wait_for_selector("body.satisfied")
    assert "All is noted." in page.inner_text("#answer")
    assert (tmp_path / "notes.txt").read_text() == "one\n"
    first = page.url
    page.click("#follow > summary")
    page.fill("#follow-task", "And next year?")
    page.click("#follow button")
    page.wait_for_selector(".ask")
    assert page.url != first and first.rpartition("/")[2] in page.inner_text("#head")
    page.click("text=Stop the run")
    page.wait_for_selector("body.cancelled")
    page.goto(first)

    page.click("text=Run again with an edited team")
    page.fill("textarea[name='edit.Clerk']", "You write few notes.")
    page.click("text=Run again >> nth=-1")
    page.wait_for_selector(".ask")
    assert page.url != first
    assert "Reused calls" in page.inner_text("#answer")
    page.click("#ask-1 [value=deny]")  # the plan and its review are taken from the first run
    page.wait_for_selector("#ask-2")
    page.click("text=Stop the run")
    page.wait_for_selector("body.cancelled")
    page.click("text=All runs and teams")
    page.wait_for_selector(".outcome.cancelled")
    for box in page.locator(".runs [type=checkbox]").all()[:2]:
        box.check()
    page.click("text=Compare the two that are marked")
    assert page.locator("h2").all_inner_texts() == ["Figures", "Plan", "Rounds", "Answer"]


def write_run(folder: Path, name: str, events: Iterable[ev.AnyEvent]) -> None:
    """Writes the log of a run that another process has made."""
    journal = Journal.create(folder / "runs", name)
    for event in events:
        if event.logged:
            journal.write(event)
    journal.close()


def test_hostile_text_acts_nowhere_and_no_fault_keeps_anybody_out(tmp_path: Path, server: Any, window: Any) -> None:
    """Pages of hostile texts, at two widths and in two colours: they fit, and axe-core has nothing serious to say."""
    axe = Axe()
    safe = HOSTILE.replace("\ud800", "")
    charge_team(tmp_path, description=safe, task=safe, inputs={"year": {"default": safe, "description": safe}})
    write_run(tmp_path, "20250601T120000Z-hostile-000001", hostile())
    write_run(tmp_path, "20250601T120001Z-sales-000002", satisfied())
    address = server("charge.yaml", "--port", "0")
    start = window(address)
    start.page.click("text=charge")
    start.page.click("button[value=run]")
    start.page.wait_for_selector("#ask-1")
    origin, asked = address.partition("/?")[0], start.page.url.rpartition("/runs/")[2]
    first, second = "20250601T120000Z-hostile-000001", "20250601T120001Z-sales-000002"
    paths = ["/", "/teams/charge", f"/runs/{asked}", f"/runs/{first}", f"/runs/{second}", f"/runs/{second}/again"]
    paths.append(f"/compare?run={first}&run={second}")
    for width, scheme in ((390, "dark"), (1280, "light")):
        one = window(address, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
        for path in paths:
            one.page.goto(origin + path)
            assert one.page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert one.page.locator("img, iframe, main script").count() == 0
            found = axe.run(one.page, options={"resultTypes": ["violations"]}).response["violations"]
            serious = {fault["id"]: fault["nodes"][0]["html"] for fault in found if fault["impact"] in SERIOUS}
            assert serious == {}, (path, width, scheme)


YARDSTICK = """() => new Promise((done) => setTimeout(() => {
    const sheet = document.createElement("div");
    document.body.append(sheet);
    sheet.innerHTML = "<p><b>a word</b> and <i>more</i> text</p>".repeat(2_000);
    done(sheet.getBoundingClientRect().height);
    sheet.remove();
}))"""
"""A task of a known size: two thousand paragraphs are read and laid out."""


@contextmanager
def longest_task(browser: Any, page: Any, found: list[float]) -> Iterator[None]:
    """Adds the longest task of the page, in milliseconds of its thread: time that other processes take is not in it."""
    browser.start_tracing(page=page, categories=["toplevel", "disabled-by-default-devtools.timeline"])
    yield
    events = json.loads(browser.stop_tracing())["traceEvents"]
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in events if one["name"] == "thread_name"}
    tasks = [one for one in events if one["name"] == "RunTask" and names.get((one["pid"], one["tid"])) == MAIN]
    found.append(max(task.get("tdur", 0) for task in tasks) / 1000)


def test_two_hundred_rounds_grow_without_a_long_task(tmp_path: Path, browser: Any, server: Any, window: Any) -> None:
    name = "20250601T120000Z-sales-000200"
    events = [event for event in long_run(200) if event.logged]
    write_run(tmp_path, name, events[: len(events) // 2])
    address = server("--port", "0")
    one = window(f"{address.partition('/?')[0]}/runs/{name}?token={TOKEN}")
    page = one.page
    page.wait_for_selector("#round-100")
    durations: list[float] = []
    with longest_task(browser, page, durations):
        page.evaluate(YARDSTICK)
    with longest_task(browser, page, durations):
        journal = Journal.existing(tmp_path / "runs" / name)
        journal.read()
        for event in events[len(events) // 2 :]:
            journal.write(event)
        journal.close()
        page.wait_for_selector("body.satisfied")
        page.wait_for_selector("#round-200")
    assert page.evaluate("document.documentElement.outerHTML.length") < 5_000_000
    yardstick, longest = durations
    assert 0 < longest < max(LONG_TASK, 4 * yardstick), durations
