"""`ui`: teams and their runs on a page in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import database_url, load_environment, open_database
from magentic_kit.cli.listening import token_of
from magentic_kit.cli.loading import LOADING, loading
from magentic_kit.cli.options import PATH, database_option, env_file_option, out_option
from magentic_kit.cli.output import say


@click.command()
@click.argument("teams", nargs=-1, type=PATH, metavar="[TEAM]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="0: any free one.")
@click.option("--token-env", metavar="NAME", help="Variable with the token of the page; default: a new one.")
@click.option("--allow-host", "hosts", multiple=True, metavar="HOST", help="Another host name that browsers may use.")
@click.option("--no-open", is_flag=True, help="Print the page's address only, and open no browser.")
@out_option
@database_option
@env_file_option
def ui(
    teams: tuple[Path, ...],
    host: str,
    port: int,
    token_env: str | None,
    hosts: tuple[str, ...],
    no_open: bool,
    out: Path,
    url: str | None,
    env_file: Path | None,
) -> int:
    """Open a page in the browser on which teams work: start them, watch, review, stop and resume.

    The teams are the files given, or those found in this folder. All runs under --out are shown, also those of other
    processes, and with a database the queued ones. Whoever has the address with its token may do there what you may.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end

    async def serve() -> int:
        from magentic_kit.serve.guard import Access
        from magentic_kit.serve.http import listen, serve_app, url_of
        from magentic_kit.serve.page.security import Keys

        stop = asyncio.Event()
        on_signals(stop.set, lambda: None)
        keys = Keys(token_of(token_env))
        access = Access.of(host, allow_hosts=hosts, token=keys.token)
        listening = listen(host, port)
        say(LOADING, err=True)
        with loading():
            from magentic_kit.serve.page.app import create_page
            from magentic_kit.serve.page.registry import Runs
            from magentic_kit.serve.page.rendering import Site
            from magentic_kit.serve.page.teams import find_teams

        paths = list(teams) or find_teams(Path())
        for team in paths:
            load_environment(env_file, beside=team)
        site, queue = Site("", keys.csrf), None
        if database_url(url):
            database = open_database(url)
            from magentic_kit.serve.page.queued import QueuedRuns

            queue = QueuedRuns(database, site)
        app = create_page(paths, Runs(out, site, queue), access=access, keys=keys)
        async with app.router.lifespan_context(app):
            address = f"{url_of(host, listening[0])}/?token={keys.token}"
            say(f"the page is at {address}", err=True)
            if not no_open:
                import webbrowser

                webbrowser.open(address)
            await serve_app(app, listening, stop)
        return 130

    quiet_logs()
    return run_to_end(serve)
