"""The page tells a run at a glance, works in a real browser, and gives nothing that a model wrote a chance."""

import base64
import hashlib
import random
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support import sample_events as sample
from support.browser import chromium
from support.hostile import HOSTILE_PARTS

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord
from magentic_kit.views.batch_page import BatchRow, batch_html
from magentic_kit.views.html import changes, html
from magentic_kit.views.report import markdown, write_reports

RUNS = [sample.satisfied, sample.limited, sample.failed_in_the_plan, sample.cancelled, sample.hostile]
OURS = (
    "html head meta title style body a header p time h1 strong nav div span form output input kbd main section h2 dl "
    "dt dd ul li svg defs pattern rect line text g table thead tr th td tbody h4 pre details summary button article "
    "h3 code h5 b i em s ol blockquote br hr footer script del ins"
)
VOID = {"meta", "input", "br", "hr", "rect", "line"}


def page_of(events):
    return html(RunRecord.of(events))


class Audit(HTMLParser):
    """Reads a page as a browser would and keeps what could act or leave its place."""

    def __init__(self, page):
        super().__init__()
        self.open, self.findings, self.words, self.inline = [], [], "", {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = {name: value for name, value in attrs if not (name == "href" and (value or "").startswith("#"))}
        link = attrs.get("href", "")
        acts = [name for name in attrs if name.startswith("on") or name in ("src", "srcset", "style", "action")]
        if tag not in OURS.split() or acts or (link and not link.lower().startswith(("http://", "https://"))):
            self.findings.append((tag, attrs))
        if link and attrs.get("rel") != "noopener noreferrer":
            self.findings.append((tag, attrs))
        if tag not in VOID:
            self.open.append(tag)
        self.words += " "

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.findings.append(("unbalanced", tag))

    def handle_data(self, data):
        if (tag := self.open[-1] if self.open else "") in ("style", "script"):
            self.inline[tag] = self.inline.get(tag, "") + data
        else:
            self.words += data


def long_run(
    rounds, *, result="<b>& row</b> ", text="**Bold** words about `numbers`.\n\n| a | b |\n|-|-|\n| 1 | 2 |\n"
):
    """`rounds` turns, each with two model calls and three tool calls whose results are 20,000 characters."""
    events = [sample.started(), ev.PlanCreated(facts=text, plan=text)]
    reasons = dict.fromkeys(("is_progress_being_made", "is_request_satisfied", "next_speaker"), text)
    for number in range(1, rounds + 1):
        events.append(sample.ledger(number, "Analyst", text, reasons=reasons))
        events.append(ev.AgentStarted(agent="Analyst", round=number, instruction=text))
        for tool in range(3):
            head = {"call": f"t{number}.{tool}", "who": "Analyst", "function": "db.query"}
            rows = (result * 20_000)[:20_000]
            events.append(ev.ToolCallStarted(**head, arguments={"sql": text}))
            events.append(ev.ToolCallFinished(**head, seconds=0.1, result=rows))
        events += sample.model_call(f"Analyst#{number}", "turn", text)
        events.append(ev.AgentMessage(agent="Analyst", round=number, text=f"Needle {number}. {text * 10}"))
    return sample.stamp(*events, ev.RunFinished(outcome="satisfied", answer="Done.", seconds=1.0))


@pytest.mark.parametrize("run", RUNS)
def test_every_page_is_balanced_and_nothing_in_it_acts(run):
    audit = Audit(page_of(run()))
    assert (audit.findings, audit.open) == ([], [])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", audit.words)


@pytest.mark.parametrize("run", RUNS)
def test_a_page_of_a_broken_log_is_still_a_page(run):
    events = [event for event in run() if event.logged]
    for length in range(len(events)):
        audit = Audit(page_of(events[:length]))
        assert audit.findings == []
        assert "The log breaks off" in audit.words


def test_no_hostile_mixture_of_markup_gets_out_of_its_place():
    choice = random.Random(7)
    for _ in range(60):
        texts = ["".join(choice.choices([*HOSTILE_PARTS, '"', "'", "{{ x }}"], k=30)) for _ in range(9)]
        tool = {"call": texts[0], "who": "Analyst", "function": texts[0]}
        run = sample.stamp(
            sample.started(team=texts[0], task=texts[1], versions={texts[2]: texts[3]}),
            ev.PlanCreated(facts=texts[2], plan=texts[3]),
            ev.Replanned(facts=texts[4], plan=texts[5], version=2, reason=texts[6]),
            sample.ledger(1, texts[7], texts[8], reasons={"is_in_loop": texts[0], "next_speaker": texts[1]}),
            ev.AgentStarted(agent=texts[2], round=1, instruction=texts[3]),
            ev.ModelCallRetried(call=texts[2], who="Analyst", attempt=1, wait=1.0, error=texts[3]),
            ev.ToolCallStarted(**tool, arguments={texts[4]: texts[5]}),
            ev.ToolCallFailed(**tool, seconds=0.1, error=texts[6]),
            ev.AgentMessage(agent=texts[2], round=1, text=texts[7], note=texts[8]),
            ev.RunFinished(outcome="failed", answer=texts[0], error={"kind": texts[1], "message": texts[2]}),
        )
        assert Audit(page_of(run)).findings == [], texts


def test_the_policy_forbids_everything_but_the_page_s_own_style_and_script():
    page = page_of(sample.hostile())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    inline = Audit(page).inline
    digest = {t: base64.b64encode(hashlib.sha256(inline[t].encode()).digest()).decode() for t in inline}
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest['style']}'; script-src 'sha256-{digest['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert page.index("Content-Security-Policy") < page.index("<style>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**b** `c`", "<p><strong>b</strong> <code>c</code></p>"),
        ("# Errors", "<p><strong>Errors</strong></p>"),
        ("<b>hi</b>", "<p>&lt;b&gt;hi&lt;/b&gt;</p>"),
        ("[x](https://e)", '<p><a href="https://e" rel="noopener noreferrer">x</a></p>'),
        ("[x](javascript:y) [z](/etc)", "<p>[x](javascript:y) [z](/etc)</p>"),
        ("![a <b> cat](https://e/x.png) ![](https://e)", "<p><i>a &lt;b&gt; cat</i> <i>image</i></p>"),
        ("\x1b[31m\u202e", "<p>␛[31m\ufffd</p>"),
        (" ", "None."),
    ],
)
def test_what_a_model_wrote_is_shown_as_harmless_markdown(text, expected):
    page = page_of([ev.RunFinished(outcome="satisfied", answer=text)])
    assert f'<div class="md answer" dir="auto">{expected}' in page


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (
            sample.satisfied,
            ["satisfied The manager judged", "Retries 1 Tool calls 3 Tokens 728", "2 replies, repaired"],
        ),
        (
            sample.satisfied,
            ["progress: no Nothing new came.", "because 1 round in a row stalled", "no such column: why"],
        ),
        (sample.limited, ["limited A limit ended the run: max_rounds (1 round was used; the limit is 1)."]),
        (sample.limited, ["This is not the whole answer", "North, as far as we know."]),
        (sample.cancelled, ["Replies were scripted: no model was called for manager, Analyst, Writer."]),
        (sample.failed_in_the_plan, ["service 'default': 401 Unauthorized; check OPENAI_API_KEY"]),
    ],
)
def test_a_page_says_how_the_run_ended_and_why(run, words):
    text = " ".join(Audit(page_of(run())).words.split())
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["a\n", "b\n"], ["a\n", "c\n"], [("", "a\n"), ("del", "b\n"), ("ins", "c\n")]),
        (["ask Bob now\n"], ["ask Eve now\n"], [("", "ask "), ("del", "Bob"), ("ins", "Eve"), ("", " now\n")]),
        ([], ["a\n"], [("ins", "a\n")]),
        (["a\n"], ["a\n"], [("", "a\n")]),
    ],
)
def test_a_new_plan_is_shown_as_what_changed(old, new, expected):
    assert list(changes(old, new)) == expected


def test_the_timeline_has_every_turn_call_and_wait_to_scale():
    timeline = RunRecord.of(sample.satisfied()).timeline
    spans = [
        (s.kind, s.who, s.name, s.begin - timeline.began, s.end - s.begin, s.turn, s.status) for s in timeline.spans
    ]
    assert [span for span in spans if span[1] != "manager"] == [
        ("turn", "Analyst", "round 1", 9, 12, 1, "ok"),
        ("model", "Analyst", "turn", 10, 3, 1, "ok"),
        ("tool", "Analyst", "db.query", 14, 1, 1, "ok"),
        ("model", "Analyst", "turn", 16, 4, 1, "ok"),
        ("wait", "Writer", "before attempt 2", 24, 2, 0, "ok"),
        ("turn", "Writer", "round 2", 25, 3, 2, "ok"),
        ("model", "Writer", "turn", 26, 1, 2, "ok"),
        ("turn", "Analyst", "round 3", 31, 6, 3, "ok"),
        ("tool", "Analyst", "db.query", 32, 1, 3, "failed"),
        ("tool", "Analyst", "db.drop", 34, 0, 3, "denied"),
        ("model", "Analyst", "turn", 35, 1, 3, "ok"),
    ]
    bars = timeline.bars(1000)
    assert [(bar.x, bar.width) for bar in bars if bar.span.kind == "turn"] == [
        (pytest.approx(100 * begin / 39, abs=0.01), pytest.approx(100 * seconds / 39, abs=0.01))
        for begin, seconds in ((9, 12), (25, 3), (31, 6))
    ]
    denied = next(bar for bar in bars if bar.span.status == "denied")
    assert (denied.width, denied.title) == (
        0.2,
        "Analyst, tool db.drop: 0 s from 34 s, denied, not one of the listed tools",
    )
    assert [label for _, label in timeline.ticks(1000)] == [f"{n} s" for n in range(0, 40, 5)]


def test_the_hours_before_a_resume_take_no_room_on_the_timeline():
    run = [sample.started(), *sample.model_call("manager#1", "facts", "x"), ev.RunResumed(from_seq=2)]
    run = sample.stamp(*run, *sample.model_call("manager#2", "plan", "x"))
    run[3:] = [replace(event, time=event.time.replace("T12", "T20")) for event in run[3:]]
    timeline = RunRecord.of(run).timeline
    assert timeline.seconds == pytest.approx(4)
    assert [(bar.x, bar.width) for bar in timeline.bars(800)] == [(25, 25), (75, 25)]
    assert timeline.breaks() == [(50, "480 min 01 s")]


def test_long_runs_stay_under_five_megabytes_and_lose_only_the_long_texts():
    page = page_of(long_run(200))
    assert len(page.encode()) < 5_000_000
    assert "Needle 200." in page
    assert re.search(r"… [\d,]+ characters more: see result.json", page)
    assert len(page_of(long_run(200, result='"', text="|" * 500)).encode()) < 5_000_000


def test_a_table_that_would_fill_up_with_cells_is_shown_as_written():
    bomb = "|a" * 100 + "|\n" + "|-" * 100 + "|\n" + "b\n" * 9_000
    assert len(page_of([ev.RunFinished(outcome="satisfied", answer=bomb)])) < 60_000


def test_the_page_is_written_when_the_team_file_asks_for_it(tmp_path):
    record = RunRecord.of(sample.satisfied())
    assert write_reports(tmp_path, record, ["html"]) == [tmp_path / "report.html"]
    assert (tmp_path / "report.html").read_text("utf-8") == html(record)


def test_the_markdown_report_draws_who_spoke():
    report = markdown(RunRecord.of(sample.satisfied()))
    assert report.split("```")[1] == (
        "mermaid\nsequenceDiagram\n"
        "    participant p0 as manager\n    participant p1 as Analyst\n    participant p2 as Writer\n"
        "    p0->>p1: round 1\n    p1-->>p0: said\n"
        "    p0->>p2: round 2\n    p2-->>p0: The reply was empty.\n"
        "    p0->>p1: round 3\n    p1-->>p0: said\n"
    )
    hostile = re.search("```mermaid\n(.*?)```", markdown(RunRecord.of(sample.hostile())), re.DOTALL)[1]
    assert "#60;script#62;alert#40;1#41;#60;#47;script#62;" in hostile
    assert not re.search(r"[^\w .,#;>:\n-]", hostile)
    many = markdown(RunRecord.of(long_run(61)))
    assert many.count("->>p1: round") == 60
    assert "```\n\nThe first 60 of 61 turns are drawn.\n" in many


# In a real browser.


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, tmp_path):
    """Opens a page as a file; at the end of the test it must have asked for nothing and complained of nothing."""
    asked, said, contexts = [], [], []

    def visit(page_text, **options):
        (tmp_path / "report.html").write_text(page_text, "utf-8")
        contexts.append(context := browser.new_context(**options))
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto((tmp_path / "report.html").as_uri())
        return page

    visit.asked, visit.said = asked, said
    yield visit
    for context in contexts:
        context.close()
    assert set(asked) <= {(tmp_path / "report.html").as_uri()}
    assert said == []


def marked(page):
    return page.evaluate("[...CSS.highlights.get('found')].map(String)")


def is_open(page):
    return page.evaluate("[...document.querySelectorAll('details.turn')].map((turn) => turn.open)")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("run", RUNS)
def test_a_browser_shows_the_page_without_a_request_or_a_complaint(visit, run, width, scheme):
    page = visit(page_of(run()), viewport={"width": width, "height": 900}, color_scheme=scheme)
    if page.locator("#fold").count():
        page.click("#fold")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(251, 250, 247)", "dark": "rgb(21, 22, 24)"}[scheme]
    assert page.locator("h2").all_inner_texts() == ["Answer", "Timeline", "Tokens", "Plan", "Rounds", "Errors"]


@pytest.mark.slow
def test_a_script_or_an_image_that_got_into_the_page_would_still_be_stopped(browser, tmp_path):
    bad = (
        "<img src='http://127.0.0.1:9/x' onerror='document.title=1'><script>document.title=1</script><style>*{top:1px}"
    )
    with_it = page_of(sample.satisfied()).replace("<main>", f"<main>{bad}</style>")
    without_policy = re.sub("<meta[^>]*Content-Security-Policy[^>]*>", "", with_it)
    seen = {}
    for name, text in (("as it is", with_it), ("without its policy", without_policy)):
        (tmp_path / "x.html").write_text(text, "utf-8")
        page, failed = browser.new_page(), set()
        page.on("requestfailed", lambda request, failed=failed: failed.add(request.failure))
        page.goto((tmp_path / "x.html").as_uri())
        top = page.evaluate("getComputedStyle(document.querySelector('h1')).top")
        seen[name] = (page.title(), top, failed <= {"csp"})
        page.close()
    assert seen == {"as it is": ("sales: satisfied", "auto", True), "without its policy": ("1", "1px", False)}


@pytest.mark.slow
def test_turns_and_tool_calls_fold(visit):
    page = visit(page_of(sample.satisfied()))
    assert is_open(page) == [False] * 3
    page.click("#turn-1 > summary")
    page.click("#turn-1 .tool > summary")
    assert page.get_by_text("north 12").is_visible()
    page.click("#fold")
    assert is_open(page) == [True] * 3
    page.click("#fold")
    assert is_open(page) == [False] * 3


@pytest.mark.slow
def test_search_opens_and_marks_the_turns_that_have_the_words_and_hides_the_other_rounds(visit):
    page = visit(page_of(sample.satisfied()))
    page.keyboard.press("/")
    page.keyboard.type("NEW stores")
    assert page.locator(".round:visible").count() == 1
    assert is_open(page) == [False, False, True]
    assert "New stores" in marked(page)
    assert page.locator("#found").inner_text() == "1 of 4 rounds"
    page.fill("#search", "north 12")
    assert page.get_by_text("north 12").is_visible()  # in a tool's result
    assert is_open(page) == [True, False, False]
    for words in ("(.*[", "İ", "a/b\\"):
        page.fill("#search", words)
        assert page.locator("#found").inner_text() == "0 of 4 rounds"
    page.keyboard.press("Escape")
    assert page.locator(".round:visible").count() == 4
    assert (is_open(page), marked(page)) == ([False] * 3, [])


@pytest.mark.slow
def test_the_timeline_is_read_by_pointer_and_by_keyboard_and_leads_to_the_turn(visit):
    page = visit(page_of(sample.satisfied()))
    readout = page.locator("#readout")
    page.hover(".bar.wait")
    assert readout.inner_text() == ("Writer, wait before attempt 2: 2 s from 24 s, 429 Too Many Requests")
    page.focus(".bar[tabindex='0']")
    assert readout.inner_text() == "manager, model call for the facts: 1 s from 1 s, 100 → 20 tokens"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert readout.inner_text() == "Analyst, turn in round 1: 12 s from 9 s"
    page.keyboard.press("Enter")
    assert is_open(page) == [True, False, False]
    assert page.evaluate("document.activeElement.parentElement.id") == "turn-1"


@pytest.mark.slow
def test_on_a_phone_the_timeline_says_that_it_scrolls_and_a_second_tap_goes_to_the_turn(visit):
    page = visit(page_of(sample.satisfied()), viewport={"width": 390, "height": 900}, has_touch=True)
    assert page.get_by_text("swipe it sideways").is_visible()
    readout = page.locator("#readout")
    assert readout.inner_text() == "Tap a bar to read it, tap it again to go to its turn."
    scroll = page.locator(".chart .scroll")
    assert scroll.evaluate("(it) => it.scrollWidth > it.clientWidth")
    page.locator(".bar.tool").first.tap()
    assert readout.inner_text().startswith("Analyst, tool db.query")
    assert is_open(page) == [False] * 3
    page.locator(".bar.tool").first.tap()
    assert is_open(page) == [True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_batch_s_page_fits_and_acts_on_nothing(visit, width):
    texts = {"id": sample.HOSTILE, "outcome": "failed", "answer": sample.HOSTILE, "error": sample.HOSTILE}
    hostile = BatchRow(
        **texts, seconds=1, tokens=None, cost=None, report="", checks=[(sample.HOSTILE, sample.HOSTILE), ("a", "")]
    )
    page = visit(batch_html(sample.HOSTILE, 3, [hostile, hostile]), viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("h2").all_inner_texts() == ["Failed checks", "Tasks"]
    assert page.locator("script, img, iframe, h1 ~ h1").count() == 0
    assert page.locator("#failed li").count() == 2 and "2 of 4 checks passed." in page.inner_text("header")
    assert page.get_by_text("# Answer <script>").first.is_visible()


@pytest.mark.slow
def test_on_paper_everything_is_unfolded_and_nothing_is_there_to_click(visit):
    page = visit(page_of(sample.satisfied()))
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.evaluate("document.querySelector('#turn-1 .md').checkVisibility({contentVisibilityAuto: true})")


@pytest.mark.slow
def test_two_hundred_rounds_open_in_two_seconds_and_are_searched_in_one(visit):
    page = visit(page_of(long_run(200)))
    worked = processor_seconds(page)
    page.reload()
    opened = worked()
    page.fill("#search", "needle 117")
    assert page.locator("#found").inner_text() == "1 of 200 rounds"
    searched = worked()
    page.evaluate("for (let n = 0; n < 3; n++) JSON.parse(JSON.stringify([...Array(100000).keys()].map(String)))")
    yard = worked()
    assert opened < max(2, 20 * yard) and searched < max(1, 10 * yard), (opened, searched, yard)


def processor_seconds(page):
    """Tells, each time it is called, what the page has taken of a processor since."""
    session, before = page.context.new_cdp_session(page), 0.0
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked():
        nonlocal before
        metrics = {it["name"]: it["value"] for it in session.send("Performance.getMetrics")["metrics"]}
        before, last = metrics["TaskDuration"], before
        return before - last

    return worked
