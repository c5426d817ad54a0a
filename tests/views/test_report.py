"""The report tells a run truthfully, and nothing that a model wrote is active in it."""

import itertools
import json
import random
import re
import resource

import pytest
import yaml
from markdown_it import MarkdownIt
from support import sample_events as sample
from support.hostile import HOSTILE_PARTS

from magentic_kit import events as ev
from magentic_kit.runlog.event_json import from_dict
from magentic_kit.runlog.record import RunRecord
from magentic_kit.views.html import html
from magentic_kit.views.report import ReportWriter, fenced, inline, markdown, quoted, write_reports

RUNS = [sample.satisfied, sample.limited, sample.failed_in_the_plan, sample.cancelled, sample.hostile]
SECTIONS = [
    "Answer",
    "How it ended",
    "Plan",
    "Facts",
    "Rounds",
    "What each agent said",
    "Tool calls",
    "Errors",
]


def parse(text):
    """The tokens of `text` as a generous renderer sees it: HTML and tables on, every link allowed."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    parser.validateLink = lambda url: True
    return parser.parse(text)


def active(tokens):
    """Everything in `tokens` that a browser would act on."""
    for token in tokens:
        if token.type.startswith("html") or token.type == "image":
            yield token.content
        if token.type == "link_open" and not token.attrs["href"].lower().startswith(("http://", "https://")):
            yield token.attrs["href"]
        yield from active(token.children or [])


def headings(tokens, tag):
    pairs = itertools.pairwise(tokens)
    return [text.content for token, text in pairs if (token.type, token.tag, token.level) == ("heading_open", tag, 0)]


def split(report):
    """Front matter as data, and the rest."""
    _, front, body = report.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize("run", RUNS)
def test_every_report_has_our_sections_in_order_and_nothing_active(run):
    tokens = parse(split(markdown(RunRecord.of(run())))[1])
    assert len(headings(tokens, "h1")) == 1
    assert headings(tokens, "h2") == SECTIONS
    assert list(active(tokens)) == []


@pytest.mark.parametrize("run", RUNS)
def test_a_report_of_a_broken_log_is_still_a_report(run):
    events = [event for event in run() if event.logged]
    for length in range(len(events)):
        report = markdown(RunRecord.of(events[:length]))
    assert "**Not finished: The log breaks off" in report


def test_what_people_said_of_plans_and_calls_stands_beside_them():
    call = {"call": "t1", "who": "Analyst", "function": "db.query"}
    events = sample.stamp(
        sample.started(),
        ev.PlanCreated(facts="F", plan="- guess"),
        ev.PlanReviewed(version=1, decision="revise", feedback="do not guess"),
        ev.Replanned(facts="F", plan="- ask", version=2, reason="revised after review"),
        ev.PlanReviewed(version=2, decision="approve"),
        ev.ToolReviewed(**call, decision="approve_for_run"),
        ev.ToolCallStarted(**call, arguments={}),
        ev.ToolReviewed(**{**call, "call": "t2"}, decision="deny", reason="not today"),
        ev.ToolCallDenied(**{**call, "call": "t2"}, reason="not today"),
    )
    for report in (markdown(RunRecord.of(events)), html(RunRecord.of(events))):
        words = re.findall(r"word on it: (?:<strong>)?(\w[\w ]*\w)(?:</strong>)?(?:, ([\w ]+))?", report)
        assert words == [("revise", "do not guess"), ("approve", ""), ("approve for run", ""), ("deny", "not today")]


def test_a_denied_call_is_shown_with_its_arguments():
    call = {"call": "t1", "who": "Analyst", "function": "db.drop", "arguments": {"table": "sales"}}
    reviewed = ev.ToolReviewed(**call, decision="deny", reason="no")
    events = sample.stamp(sample.started(), reviewed, ev.ToolCallDenied(**call, reason="no"))
    record = RunRecord.of(events)
    assert record.tool_calls[0].arguments == {"table": "sales"}
    assert all(
        "&#34;table&#34;: &#34;sales" in page or '"table": "sales"' in page for page in (markdown(record), html(record))
    )


def test_a_log_of_before_reviews_had_arguments_is_still_read():
    line = {"v": 1, "type": "tool_reviewed", "call": "c", "who": "A", "function": "f.g", "decision": "deny"}
    assert from_dict(line).arguments is None
    denied = {"v": 1, "type": "tool_call_denied", "call": "c", "who": "A", "function": "f.g", "reason": "no"}
    assert from_dict(denied).arguments is None


def test_no_hostile_mixture_of_markup_gets_out_of_its_place():
    choice = random.Random(7)
    for _ in range(400):
        text = "".join(choice.choices(HOSTILE_PARTS, k=choice.randint(1, 40)))
        table = f"|x|y|\n|-|-|\n| {inline(text)} | z |"
        report = f"# A\n\n{quoted(text)}\n\n## B\n\n{table}\n\n{fenced(text)}\n\n## C\n"
        tokens = parse(report)
        assert (headings(tokens, "h1"), headings(tokens, "h2")) == (["A"], ["B", "C"]), text
        assert list(active(tokens)) == [], text
        cells = [after.content for token, after in itertools.pairwise(tokens) if token.type == "td_open"]
        assert cells[-1] == "z", text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a < b, 2<3 & c", "> a < b, 2<3 & c"),
        ("<b>hi</b>", "> \\<b>hi\\</b>"),
        ("`List<int>` and `<b>`", "> `List<int>` and `<b>`"),
        ("open ` tick\n<b>`", "> open &#96; tick\n> \\<b>&#96;"),
        ("`a | <b>`", "> &#96;a | \\<b>&#96;"),
        ("![x](https://e/x.png)", "> !\\[x](https://e/x.png)"),
        ("[x](https://e) [y](javascript:z)", "> [x](https://e) [y\\](javascript:z)"),
        ("[x]: https://e", "> [x\\]: https://e"),
        ("\\<b> \\\\<b>", "> \\<b> \\\\\\<b>"),
        ("```html\n<b>\n```\n<i>", "> ```html\n> <b>\n> ```\n> \\<i>"),
        ("~~~\nopen", "> ~~~\n> open\n> ~~~"),
        ("- ```\n  x\n<b>\n  ```", "> -\n> ```\n>   x\n> <b>\n> ```"),
        ("\x1b[31mred\x9b\u202e\r\n\ud800", "> ␛[31mred��\n> �"),
        (" \n", "None."),
    ],
)
def test_quoted_text(text, expected):
    assert quoted(text) == expected


def test_a_long_tool_result_is_cut_with_a_word_about_where_the_rest_is():
    assert fenced("x" * 4_010).endswith("x\n… 10 characters more: see result.json\n```")


def test_the_front_matter_has_the_facts_with_unknown_as_null():
    front, _ = split(markdown(RunRecord.of(sample.limited())))
    assert " ".join(front) == (
        "outcome reason team run_id config_hash versions models limits rounds stalls resets tokens "
        "started finished seconds error"
    )
    assert (front["outcome"], front["reason"], front["error"]) == ("limited", "max_rounds", None)
    assert front["models"]["Analyst"] == "openai/gpt-4.1-mini"
    assert (front["limits"]["max_rounds"], front["limits"]["max_tokens"]) == (1, None)
    unpriced = {"cached": None, "cost": None}
    assert front["tokens"]["manager"] == {"prompt": 450, "completion": 100, **unpriced, "calls": 3}
    assert front["tokens"]["Analyst"] == {"prompt": None, "completion": None, **unpriced, "calls": 2}
    assert front["tokens"]["total"] == {"prompt": 450, "completion": 100, **unpriced, "calls": 5}
    failed, _ = split(markdown(RunRecord.of(sample.failed_in_the_plan())))
    assert failed["error"]["kind"] == "service"


def test_a_hostile_front_matter_is_still_one_document():
    front, _ = split(markdown(RunRecord.of(sample.hostile())))
    assert front["team"] == "a\n# b <i>"


NOT_FINISHED = {
    sample.limited: "**Not finished: A limit ended the run: max_rounds (1 round was used; the limit is 1).**",
    sample.failed_in_the_plan: "**Not finished: The run failed (service): service 'default': 401 Una",
    sample.cancelled: "**Not finished: The run was cancelled.**",
}


@pytest.mark.parametrize("run", NOT_FINISHED)
def test_an_answer_that_is_not_the_whole_answer_says_so_in_bold(run):
    report = markdown(RunRecord.of(run()))
    assert f"## Answer\n\n{NOT_FINISHED[run]}" in report


def test_a_satisfied_report_tells_the_whole_story():
    report = markdown(RunRecord.of(sample.satisfied()))
    for part in (
        "# sales: satisfied\n\nTask:\n\n> Which region",
        "## Answer\n\n> North, because of **new stores**.\n",
        "It took 3 rounds (1 stalled), 1 reset, 7 model calls and 1 retry in 42 s.",
        "| Writer | openai/gpt-4.1-mini | 1 | 80 | unknown | 0 | 0 | unknown |",
        "### Plan 2, because 1 round in a row stalled\n\n> - Ask why\n",
        "### Facts 2\n\n> North leads.\n",
        "| 2 | Writer | Write it up. | no | no | yes | yes | *progress being made:* Nothing new came. |",
        " Nothing new came. | 2, repaired |\n",
        "### Writer, round 2\n\nAsked:\n\n> Write it up.\n\nSaid (The reply was empty.):\n\nNone.\n",
        '**2. db.query**, called by Analyst: failed, 1.5 s\n\n```\n{\n  "sql": "SELECT why"\n}\n```\n\n'
        "```\nno such column: why\n```\n",
        "- 2025-06-01T12:00:22.000Z manager, ledger: the reply is not JSON\n",
    ):
        assert part in report
    assert "Not finished" not in report
    assert "scripted" not in report


def test_scripted_replies_are_labelled_right_under_the_title():
    everyone = markdown(RunRecord.of(sample.cancelled()))
    line = "Replies were scripted: no model was called for manager, Analyst, Writer."
    assert f"# sales: cancelled\n\n{line}\n\nTask:" in everyone
    some = markdown(RunRecord.of(sample.satisfied(scripted=("Writer",))))
    assert "Replies were scripted: no model was called for Writer.\n" in some


def test_empty_sections_say_none():
    report = markdown(RunRecord.of(sample.failed_in_the_plan()))
    for section in ("Plan", "Facts", "Rounds", "What each agent said", "Tool calls"):
        assert f"## {section}\n\nNone.\n" in report


def test_result_json_is_the_record_as_data(tmp_path):
    record = RunRecord.of(sample.hostile())
    written = write_reports(tmp_path, record, ["md", "json"])
    assert written == [tmp_path / "report.md", tmp_path / "result.json"]
    assert json.loads(written[1].read_text("utf-8")) == json.loads(json.dumps(record.to_dict()))
    assert written[0].read_text("utf-8") == markdown(record)
    assert sorted(tmp_path.iterdir()) == written


def test_only_the_reports_that_were_asked_for_are_written(tmp_path):
    write_reports(tmp_path, RunRecord.of(sample.limited()), ["json"])
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_report_that_cannot_be_written_leaves_the_old_one_whole(tmp_path):
    (tmp_path / "report.md").write_text("old")
    record = RunRecord.of(sample.limited())
    record.answer = "x" * 1_000_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))  # as a full disk: it takes a part
    try:
        with pytest.raises(OSError):
            write_reports(tmp_path, record, ["md"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_text() == "old"


def test_the_limits_that_held_are_shown():
    record = RunRecord.of(sample.satisfied())
    assert "\nIts limits: max_rounds 20, max_stalls 3, deadline 15 min 00 s.\n" in markdown(record)
    assert "Limits: max_rounds 20, max_stalls 3, deadline 15 min 00 s.</p>" in html(record)
    assert record.to_dict()["limits"]["deadline"] == 900.0


@pytest.mark.parametrize("name", ["report.md", "report.md.tmp"])
def test_no_report_is_written_through_a_link(name, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / name).symlink_to(elsewhere)
    (path,) = write_reports(run_dir, RunRecord.of(sample.limited()), ["md"])
    assert elsewhere.read_text() == "precious"
    assert (path.is_symlink(), path.stat().st_mode & 0o777) == (False, 0o600)


def test_the_writer_writes_when_the_run_has_ended_and_harms_nobody(tmp_path, caplog):
    events = sample.satisfied()
    record = sample.feed(writer := ReportWriter(tmp_path, ["json"]), events[:-1])
    assert list(tmp_path.iterdir()) == []
    sample.feed(writer, events[-1:], record)
    assert json.loads((tmp_path / "result.json").read_text())["outcome"] == "satisfied"
    sample.feed(ReportWriter(tmp_path / "gone", ["md"]), events)
    assert "the report could not be written" in caplog.text
