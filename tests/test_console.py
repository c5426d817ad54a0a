"""The console shows a run as it happens: plain lines, or a rich terminal that is left as it was found."""

import io
import re
import subprocess
import sys
import time

import pytest
import sample_events as sample

from magentic_kit import events as ev
from magentic_kit.console import Console, QuietConsole, make_console
from magentic_kit.live import RichConsole

START = """\
sales: Which region grew fastest in 2025, and why?
facts 1:
  We know the year.
plan 1:
  - Query
  - Write
round 1/20: progress (We have just begun.) → Analyst: Sum the sales by region.
── Analyst ──
  Let me look.
"""
QUERY = 'tool: db.query(sql="SELECT region, sum(amount) FROM sales")'
GOLDEN = {
    sample.satisfied: f"""\
{START}{QUERY} → north 12 south 9 (0.02 s)
  North grew
  fastest.
manager: reply 1 is no progress ledger: the reply is not JSON
round 2/20: no progress (Nothing new came.), in a loop, stall 1/3, 2 replies, repaired → Writer: Write it up.
Writer: attempt 1 failed: 429 Too Many Requests; trying again in 2 s
── Writer ──
Writer: The reply was empty.
facts 2:
  North leads.
plan 2, because 1 round in a row stalled:
  - Ask why
round 3/20: progress → Analyst: Find out why.
── Analyst ──
tool: db.query(sql="SELECT why") failed: no such column: why (1.5 s)
tool: db.drop() denied: not one of the listed tools
  New stores.
round 4/20: satisfied (Both parts are answered.)
run satisfied: 4 rounds, 1 stall, 1 reset, at least 728 tokens, 42 s
""",
    sample.limited: f"""\
{START.replace("1/20", "1/1")}{QUERY} → north 12 south 9 (0.02 s)
  North grew
  fastest.
limit max_rounds: 1 round was used; the limit is 1
run limited (max_rounds): 1 round, 0 stalls, 0 resets, at least 550 tokens, 1 min 15 s
""",
    sample.failed_in_the_plan: """\
sales: Which region grew fastest in 2025, and why?
manager: the model call failed: service 'default': 401 Unauthorized; check OPENAI_API_KEY
run failed: 0 rounds, 0 stalls, 0 resets, tokens unknown, 0.1 s
""",
    sample.cancelled: START.replace(
        "facts 1", "scripted replies: no model is called for manager, Analyst, Writer\nfacts 1"
    )
    + f"{QUERY} did not finish\nrun cancelled: 1 round, 0 stalls, 0 resets, at least 550 tokens, 3 s\n",
}
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


def show(events, *, mode, stream=None):
    stream = stream or Terminal(tty=mode == "rich")
    console = make_console(stream=stream, mode=mode)
    for event in events:
        console(event)
    console.close()
    return stream


def until(state, seconds=10):
    """Waits for what another thread does."""
    end = time.monotonic() + seconds
    while not state():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


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
    for event in sample.limited():
        console(event)
    console.close()
    assert capsys.readouterr() == ("", GOLDEN[sample.limited])


def test_quiet_says_nothing():
    stream = show(sample.satisfied(), mode="quiet")
    assert type(make_console(stream=stream, mode="quiet")) is QuietConsole
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", ["plain", "rich"])
def test_text_looks_the_same_streamed_by_the_letter_or_not_at_all(mode):
    events = sample.hostile()
    silent = [event for event in events if not isinstance(event, ev.TextDelta)]
    tool_lines_moved = [event for event in silent if not isinstance(event, ev.ToolCallFailed)]
    letters = [event for event in events if not isinstance(event, ev.ToolCallFailed)]
    assert show(letters, mode=mode).screen == show(tool_lines_moved, mode=mode).screen


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
    fake = "fine\nrun satisfied: 1 round\nlimit max_rounds: x\n── Writer ──"
    turn = sample.model_call("Analyst#1", "turn", fake, deltas=tuple(fake))
    begin = ev.AgentStarted(agent="Analyst", round=1, instruction="x")
    screen = show(sample.stamp(sample.started(), begin, *turn), mode=mode).screen
    assert [line for line in screen.splitlines() if not line.startswith("  ")] == [
        f"sales: {sample.TASK}",
        "── Analyst ──",
    ]
    assert "\n  run satisfied: 1 round\n" in screen


def test_a_bug_that_ended_the_run_is_shown_once():
    error = {"kind": "internal", "message": "boom"}
    events = sample.stamp(sample.started(), ev.RunFinished(outcome="failed", answer="", error=error))
    assert show(events, mode="plain").getvalue().count("boom") == 1


def test_the_rich_screen_ends_with_the_whole_run_and_without_the_footer():
    terminal = show(sample.satisfied(), mode="rich")
    for line in GOLDEN[sample.satisfied].splitlines():
        if not re.match(r"facts|plan|  - |  We know|  North leads", line):
            assert line in terminal.screen.splitlines()
    assert re.search(r"╭─ plan 2, because 1 round in a row stalled ─+╮\n│ - Ask why +│\n╰─+╯", terminal.screen)
    assert terminal.screen.splitlines()[-1].startswith("run satisfied")
    assert " · " not in terminal.screen
    assert terminal.cursor


def test_at_no_moment_is_anything_on_the_rich_screen_twice():
    for frame in show(sample.satisfied(), mode="rich").frames:
        for text in ("Let me", "North grew", "fas", "New stores", "· round"):
            shown = frame.replace("fastest in 2025", "")
            assert shown.count(text) <= 1, frame


def test_the_footer_counts():
    frames = show(sample.satisfied(), mode="rich").frames
    footers = [frame.splitlines()[-1] for frame in frames if frame]
    assert any(
        re.fullmatch(r". Analyst thinks · round 3/20 · stalls 0/3 · at least 728 tokens · \d s", footer)
        for footer in footers
    )
    assert any("· round 2/20 · stalls 1/3 ·" in footer for footer in footers)


def test_a_line_longer_than_the_terminal_wraps_and_its_end_stays_in_sight(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "6")
    words = [f"word{number} " for number in range(100)]
    begin = ev.AgentStarted(agent="Analyst", round=1, instruction="x")
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich")
    for event in sample.stamp(sample.started(), begin, *sample.model_call("A#1", "turn", "", deltas=tuple(words))):
        console(event)
    until(lambda: "word99" in terminal.screen)
    assert len(terminal.screen.partition("── Analyst ──")[2].split("\n")) <= 6
    console(ev.LimitReached(limit="deadline", detail="x"))
    assert all(len(line) <= 30 for line in terminal.screen.splitlines())
    text = terminal.screen.partition("── Analyst ──")[2].partition("limit")[0]
    assert text.split() == [word.strip() for word in words]
    console.close()


def test_the_terminal_is_given_back_when_the_run_breaks_off():
    begin = sample.stamp(*sample.plan_and_first_query()[:-1])
    terminal = Terminal()
    console = make_console(stream=terminal, mode="rich")
    for event in begin:
        console(event)
    assert not terminal.cursor
    console.close()
    console.close()
    assert terminal.cursor
    assert terminal.screen.endswith("  North grew\n  fastest.")


def test_readers_of_events_start_without_heavy_imports():
    code = (
        "import sys, magentic_kit.console, magentic_kit.record, magentic_kit.report\n"
        "print([name for name in ('semantic_kernel', 'rich.live', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
