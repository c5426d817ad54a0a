"""`report`: the report of a run, written again from its log, and opened in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.files import writing
from magentic_kit.cli.output import complain, say
from magentic_kit.cli.run_directory import run_argument

_FORMATS = ("md", "html", "json")


@click.command()
@run_argument
@click.option("--format", "formats", multiple=True, type=click.Choice(_FORMATS), help="Default: all of them.")
@click.option("--open", "is_opened", is_flag=True, help="Open report.html in the browser (the variable BROWSER).")
def report(run_dir: Path, formats: tuple[str, ...], is_opened: bool) -> None:
    """Write the report of RUN (a run directory, an id or its beginning, or `last`) again from its log."""
    from magentic_kit.runlog.listing import effective_events
    from magentic_kit.runlog.record import RunRecord
    from magentic_kit.views.report import write_reports

    wanted = set(formats or _FORMATS)
    if is_opened:
        wanted.add("html")
    record = RunRecord.of(effective_events(run_dir))
    with writing(run_dir):
        paths = write_reports(run_dir, record, wanted)
    say("\n".join(map(str, paths)))
    if is_opened:
        _open(run_dir / "report.html")


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        complain("no browser could be opened; set the variable BROWSER to one", colour="yellow")
