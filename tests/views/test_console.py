"""The console shows a run as it happens: plain lines, or a rich terminal that is left as it was found."""

import io
import re
import subprocess
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console as Screen
from support import sample_events as sample
from support.console_text import GOLDEN, QUERY
from support.mutations import ATTACK, FORBIDDEN
from support.waits import processor_time_below, until

from magentic_kit import events as ev
from magentic_kit.runlog.record import RunRecord
from magentic_kit.views.console import Console, QuietConsole
from magentic_kit.views.display import make_console
from magentic_kit.views.live import RichConsole

ON_A_TERMINAL = f"""\
sales: Which region grew fastest in 2025, and why?
╭─ plan 1 {"─" * 99}╮
│  • Query{" " * 98} │
│  • Write{" " * 98} │
╰{"─" * 108}╯
round 1/20 → Analyst: Sum the sales by region. · progress (We have just begun.)
── Analyst ──
  Let me look.
{QUERY} → north 12 south 9
  North grew fastest.
manager: reply 1 is no progress ledger: the reply is not JSON
round 2/20 → Writer: Write it up. · no progress (Nothing new came.), in a loop, stall 1/3, 2 replies, repaired
Writer: attempt 1 failed: 429 Too Many Requests; trying again in 2 s
── Writer ──
Writer: The reply was empty.
╭─ plan 2, because 1 round in a row stalled {"─" * 65}╮
│ - - Query{" " * 97} │
│ - - Write{" " * 97} │
│ + - Ask why{" " * 95} │
╰{"─" * 108}╯
round 3/20 → Analyst: Find out why. · progress
── Analyst ──
tool: db.query(sql="SELECT why") failed (1.5 s): no such column: why
tool: db.drop() denied: not one of the listed tools
  New stores.
after 3 rounds: satisfied (Both parts are answered.)
run satisfied: 3 rounds, 1 stall, 1 reset, at least 728 tokens, 42 s"""
NOW = 1748779200.0 + 42  # 42 seconds after the sample runs began
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Terminal(io.StringIO):
    """A terminal that never scrolls; `frames` is what it showed after each write."""

    encoding = "utf-8"

    def __init__(self, *, tty=True):
        super().__init__()
        self._tty = tty
        self.rows, self.row, self.column = [""], 0, 0
        self.cursor = True
        self.frames = []

    def isatty(self):
        return self._tty

    def write(self, text):
        for part in re.findall(r"\x1b\[\??[\d;]*[a-zA-Z]|[\r\n]|[^\x1b\r\n]+|\x1b", text):
            match part[:1], part[-1:]:
                case "\n", _:
                    self.row, self.column = self.row + 1, 0
                    self.rows += [""] * (self.row + 1 - len(self.rows))
                case "\r", _:
                    self.column = 0
                case "\x1b", "A":
                    self.row -= int(part[2:-1])
                case "\x1b", "K":
                    self.rows[self.row] = ""
                case "\x1b", "h" | "l":
                    self.cursor = part[-1] == "h"
                case "\x1b", end:
                    assert end == "m", part
                case _:
                    row = self.rows[self.row].ljust(self.column)
                    self.column += len(part)
                    self.rows[self.row] = row[: self.column - len(part)] + part + row[self.column :]
        self.frames.append(self.screen)
        return super().write(text)

    @property
    def screen(self):
        return "\n".join(row.rstrip() for row in self.rows).rstrip()


def show(events, *, mode, stream=None, **options):
    stream = stream or Terminal(tty=mode == "rich")
    console = make_console(stream=stream, mode=mode, clock=lambda: NOW, **options)
    sample.feed(console, events)
    console.close()
    return stream


def turn(text, *, deltas=None):
    """An agent says `text`, by the letter unless `deltas` are given."""
    begin = ev.AgentStarted(agent="Analyst", round=1, instruction="x")
    end = ev.AgentMessage(agent="Analyst", round=1, text=text)
    said = sample.model_call("Analyst#1", "turn", text, deltas=tuple(text) if deltas is None else deltas)
    return sample.stamp(sample.started(), begin, *said, end)


def said(screen):
    return screen.partition("── Analyst ──\n")[2]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("run", GOLDEN)
def test_plain_output_is_exactly_this(run):
    assert show(run(), mode="plain").getvalue() == GOLDEN[run]


@pytest.mark.parametrize(
    ("tty", "encoding", "env", "kind"),
    [
        (True, "utf-8", {}, RichConsole),
        (True, "UTF-8", {"NO_COLOR": ""}, RichConsole),
        (False, "utf-8", {}, Console),
        (True, "ascii", {}, Console),
        (True, "utf-8", {"TERM": "dumb"}, Console),
        (True, "utf-8", {"NO_COLOR": "1"}, Console),
    ],
)
def test_rich_is_for_terminals_that_can_show_it(tty, encoding, env, kind, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = Terminal(tty=tty)
    stream.encoding = encoding
    assert type(make_console(stream=stream)) is kind


def test_the_default_stream_is_stderr_and_stdout_stays_clean(capsys):
    console = make_console()
    sample.feed(console, sample.limited())
    console.close()
    assert capsys.readouterr() == ("", GOLDEN[sample.limited])


def test_quiet_says_nothing():
    stream = show(sample.satisfied(), mode="quiet")
    assert type(make_console(stream=stream, mode="quiet")) is QuietConsole
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_text_looks_the_same_streamed_by_the_letter_or_not_at_all(mode):
    # Lines about tools stand behind what was streamed so far, and so elsewhere.
    letters = [event for event in sample.hostile() if not isinstance(event, ev.ToolCallFailed | ev.ToolReviewed)]
    silent = [event for event in letters if not isinstance(event, ev.TextDelta)]
    assert show(letters, mode=mode).screen == show(silent, mode=mode).screen


def test_no_control_character_of_anybody_gets_through_in_plain_mode():
    output = show(sample.hostile(), mode="plain").getvalue()
    assert CONTROLS.search(output) is None
    assert "[bold red]boo[/] [/]␛[31mred␛]0;title␇ �2J�txet␀�" in output


def test_no_control_character_of_anybody_gets_through_in_rich_mode():
    output = show(sample.hostile(), mode="rich").getvalue()
    ours = re.compile(r"\x1b\[(\d+(;\d+)*)?m|\x1b\[2K|\x1b\[\d+A|\x1b\[\?25[lh]|\r")
    assert CONTROLS.search(ours.sub("", output)) is None
    assert "[bold red]boo[/] [/]␛[31mred␛]0;title␇ �2J�txet␀�" in output


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_a_model_cannot_fake_a_line_of_ours(mode):
    fake = "fine\n\nrun satisfied: 1 round\n\nlimit max_rounds: x\n\n# ── Writer ──"
    screen = show(turn(fake), mode=mode).screen
    assert [line for line in screen.splitlines() if line and not line.startswith("  ")] == [
        f"sales: {sample.TASK}",
        "── Analyst ──",
    ]
    assert "\n  run satisfied: 1 round\n" in screen


def test_a_bug_that_ended_the_run_is_shown_once():
    error = {"kind": "internal", "message": "boom"}
    events = sample.stamp(sample.started(), ev.RunFinished(outcome="failed", answer="", error=error))
    assert show(events, mode="plain").getvalue().count("boom") == 1


def test_a_text_that_wraps_does_not_begin_at_the_margin_either():
    limit = ev.LimitReached(limit="deadline", detail="x" * 90 + " run satisfied: 1 round")
    assert "\n  run satisfied: 1 round" in show(sample.stamp(sample.started(), limit), mode="rich").screen


def test_the_rich_screen_ends_with_the_whole_run_and_without_the_footer():
    terminal = show(sample.satisfied(), mode="rich")
    assert terminal.screen == ON_A_TERMINAL
    assert terminal.cursor


@pytest.mark.parametrize(
    ("options", "there", "gone"),
    [
        ({"verbosity": "quiet"}, ["  - Query", "failed (1.5 s)"], ["Analyst ──", "Let me look", "north 12"]),
        ({"show_reasons": False}, ["round 1/20: progress → Analyst"], ["just begun", "Nothing new"]),
        (
            {"verbosity": "full"},
            ["facts 1:\n  We know", "progress being made: We have just", "  → north 12\n  south 9"],
            [],
        ),
        ({"verbosity": "full", "show_reasons": False}, ["  → north 12\n  south 9"], ["just begun"]),
    ],
)
def test_more_or_less_is_shown_on_demand(options, there, gone):
    output = show(sample.satisfied(), mode="plain", **options).getvalue()
    assert all(text in output for text in there) and not any(text in output for text in gone), output


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_the_line_of_a_round_has_no_label_without_a_value(mode):
    screen = show(sample.stamp(sample.started(), sample.ledger(1, "Writer", "")), mode=mode).screen
    (line,) = [line for line in screen.splitlines() if "Writer" in line and "round 1" in line]
    assert "Writer:" not in line and line.rstrip()[-1] not in ":·→"


def test_the_judgement_after_the_last_round_is_no_round():
    ledger = sample.ledger(2, "Writer", "Go on.")
    events = sample.stamp(*sample.plan_and_first_query(limits=ev.RunLimits(max_rounds=1)), ledger)
    assert show(events, mode="plain").getvalue().endswith("\nafter the last round: progress\n")


def test_at_no_moment_is_anything_on_the_rich_screen_twice():
    for frame in show(sample.satisfied(), mode="rich").frames:
        for text in ("Let me", "North grew", "fas", "New stores", "· round"):
            shown = frame.replace("fastest in 2025", "")
            assert shown.count(text) <= 1, frame


def test_the_footer_counts():
    frames = show(sample.satisfied(), mode="rich").frames
    footers = [" ".join(frame.splitlines()[-2:]) for frame in frames if frame]
    tokens = "tokens 550 manager, 80 agents"
    assert any(f"db.query · round 3/20 · stalls 0/3 · resets 1 · {tokens}" in footer for footer in footers)
    assert any("· round 2/20 · stalls 1/3 ·" in footer for footer in footers)
    assert any("42 s of 15 min 00 s" in footer for footer in footers)


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_names_of_a_log_reach_the_terminal_as_text_only(mode):
    name = f"A{ATTACK}"
    head = {"call": "c", "who": name, "function": name}
    events = sample.stamp(
        sample.started(team=name, agents={name: {"provider": "scripted"}}),
        ev.AgentStarted(agent=name, round=1, instruction=""),
        ev.ModelCallStarted(call=name, who=name, purpose="turn", service="s", model="m"),
        ev.TextDelta(who=name, purpose="turn", text="x"),
        ev.ModelCallRetried(call=name, who=name, attempt=1, wait=1, error=name),
        ev.ToolReviewed(**head, decision=name),
        ev.ToolCallStarted(**head, arguments={name: name}),
        ev.TeamProgress(call=name, team=name, at=1, text=name),
        ev.ToolCallDenied(**head, reason=name),
        ev.ModelCallFailed(call=name, who=name, purpose="turn", seconds=1, kind=name, error=name),
        ev.LimitReached(limit=name, detail=name),
        ev.RunFinished(outcome=name, reason=name, answer=name, error={"kind": name, "message": name}),
    )
    stream = io.StringIO()
    console = make_console(stream=stream, mode=mode, clock=lambda: NOW)
    record = RunRecord()
    for event in events:
        sample.feed(console, [event], record)
        if mode == "rich":
            Screen(file=stream, force_terminal=True).print(console)  # the footer as it stands now
    console.close()
    assert not [control for control in FORBIDDEN if control in stream.getvalue()]


def test_a_limit_that_comes_near_is_marked():
    limits = ev.RunLimits(max_rounds=1, max_tokens=600, deadline=50.0, max_stalls=3)
    frames = show(sample.stamp(*sample.plan_and_first_query(limits=limits)), mode="rich").frames
    assert any("round 1/1!" in f and "550 manager, 0 agents!" in f and "42 s of 50 s!" in f for f in frames)
    assert not any("stalls 0/3!" in frame for frame in frames)


def test_silence_is_counted_while_a_model_thinks():
    times = iter(range(10**6))
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich", clock=lambda: NOW + next(times))
    sample.feed(console, sample.stamp(*sample.plan_and_first_query()[:2]))
    until(lambda: re.search(r"manager gathers facts [1-9]\d* s ", terminal.screen))
    console.close()


BLOCKS = """\
## Growth

| region | growth |
| --- | ---: |
| East | 38.9 |

1. chairs
2. lamps

   of every kind

> said *somebody*

```python
print("a")

print("b")
```
The end.
"""


def test_markdown_is_rendered_and_each_block_is_printed_as_soon_as_the_next_begins():
    frames = show(turn(BLOCKS), mode="rich").frames
    lines = [line.strip() for line in said(frames[-1]).splitlines() if line.strip()]
    assert lines[0] == "Growth" and "East    38.9" in re.sub(" {5,}", "    ", lines[3])
    assert lines[4:] == [
        "1 chairs",
        "2 lamps",
        "of every kind",
        "▌ said somebody",
        'print("a")',
        'print("b")',
        "The end.",
    ]
    assert not any(mark in frames[-1] for mark in ("##", "---", "```"))
    assert any("East" in frame and "1 chairs" in frame and "2 la" not in frame for frame in frames)


def test_a_reply_of_200_lines_is_whole_and_leaves_room_for_the_footer(monkeypatch):
    monkeypatch.setenv("LINES", "20")
    text = "".join(f"- item {number}\n" for number in range(200))
    terminal = show(turn(text, deltas=tuple(text.splitlines(keepends=True))), mode="rich")
    assert [line.strip() for line in said(terminal.screen).splitlines()] == [f"• item {n}" for n in range(200)]
    assert all(len(said(frame).splitlines()) <= 20 for frame in terminal.frames if "item 0" not in frame)


@pytest.mark.parametrize("columns", [20, 60])
def test_wide_characters_and_narrow_terminals_fit(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    events = turn(
        "売上は東部で" * 20 + "\n\n| 地域 | 売上 |\n|-|-|\n| 東 | 百 |\n\n```\n" + "漢字" * 40 + "\n```\n", deltas=()
    )
    tool = {"call": "t1", "who": "Analyst", "function": "db.query"}
    result = ev.ToolCallFinished(**tool, seconds=0.1, result="結果" * 100)
    events += [
        ev.ToolCallStarted(**tool, arguments={"質問": "何" * 100}),
        result,
        sample.ledger(1, "Analyst", "東" * 50),
    ]
    screen = show(events, mode="rich").screen
    assert max(cell_len(line) for line in screen.splitlines()) <= columns
    assert sum(line.startswith("tool:") for line in screen.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "漢" * 200_000,
        "[" * 1_000_000,
        "*a_" * 300_000,
        "`" + "a` " * 300_000,
        "- a\n" * 50_000,
        "> " * 300_000 + "a",
        "|a" * 5_000 + "\n" + "|-" * 5_000 + "\n",
        "```python\n" + "'" * 1_000_000,
    ],
    ids=lambda text: repr(text[:9]),
)
@pytest.mark.parametrize("size", [1000, 10**9])
def test_an_enormous_text_is_shown_in_bounded_time(text, size):
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    stream = io.StringIO()
    with processor_time_below(30):
        show(turn(text, deltas=tuple(pieces)), mode="rich", stream=stream)
    assert len(stream.getvalue()) > len(text) // 2


def test_nothing_is_hidden_in_links_images_html_or_entities():
    text = "[a](https://one) ![b](https://two) <b>c</b> &#x202e;d &amp; [e]\n\n[e]: https://three"
    output = show(turn(text), mode="rich").getvalue()
    for shown in ("https://one", "https://two", "<b>c</b>", "&#x202e;d", "&amp;", "[e]: https://three"):
        assert shown in output
    assert "\x1b]" not in output and "\u202e" not in output


def test_a_line_longer_than_the_terminal_wraps_and_its_end_stays_in_sight(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "6")
    words = [f"word{number} " for number in range(100)]
    begin = ev.AgentStarted(agent="Analyst", round=1, instruction="x")
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich")
    said = sample.model_call("A#1", "turn", "", deltas=tuple(words))
    record = sample.feed(console, sample.stamp(sample.started(), begin, *said))
    until(lambda: "word99" in terminal.screen)
    assert len(terminal.screen.partition("── Analyst ──\n")[2].split("\n")) <= 6
    sample.feed(console, [ev.LimitReached(limit="deadline", detail="x")], record)
    assert all(len(line) <= 30 for line in terminal.screen.splitlines())
    text = terminal.screen.partition("── Analyst ──")[2].partition("limit")[0]
    assert text.split() == [word.strip() for word in words]
    console.close()


def test_the_terminal_is_given_back_when_the_run_breaks_off():
    begin = sample.stamp(*sample.plan_and_first_query()[:-1])
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich")
    sample.feed(console, begin)
    assert not terminal.cursor
    console.close()
    console.close()
    assert terminal.cursor
    assert terminal.screen.endswith("  North grew fastest.")


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_what_happens_while_a_person_is_asked_is_shown_after_it(mode):
    terminal = Terminal(tty=mode == "rich")
    console = make_console(stream=terminal, mode=mode, clock=lambda: NOW)
    first, *others = sample.plan_and_first_query()
    record = sample.feed(console, sample.stamp(first))
    with console.paused():
        terminal.write("a question\n")
        sample.feed(console, sample.stamp(*others), record)
        assert terminal.screen.endswith("a question")
    assert "a question" in terminal.screen.partition("plan 1")[0] and "North grew" in terminal.screen
    console.close()
    assert terminal.cursor


@pytest.mark.parametrize("columns", [40, 80, 110])
def test_a_new_display_begins_after_each_question(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich", clock=lambda: NOW)
    sample.feed(console, sample.stamp(*sample.plan_and_first_query()))
    until(lambda: "round 1" in terminal.screen.rpartition("─")[2])
    asked = []
    for number in range(5):
        with console.paused():
            terminal.write(f"question {number}\n")
            asked = terminal.screen.splitlines()
        until(lambda shown=len(asked): len(terminal.screen.splitlines()) > shown)
        assert terminal.screen.splitlines()[: len(asked)] == asked
    console.close()
    assert terminal.screen.splitlines() == asked


def test_a_display_that_was_given_back_during_a_question_stays_so():
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich", clock=lambda: NOW)
    sample.feed(console, sample.stamp(*sample.plan_and_first_query()))
    with console.paused():
        console.close()
    assert terminal.cursor


def test_readers_of_events_start_without_heavy_imports():
    code = (
        "import sys, magentic_kit.views.console, magentic_kit.runlog.record, magentic_kit.views.report\n"
        "print([name for name in ('semantic_kernel', 'rich.live', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
