"""`serve`: teams for others' clients, by every protocol, on one port."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.listening import ListenOptions, listen_options
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import PATH, env_file_option, out_option
from magentic_kit.cli.output import say


@click.command()
@click.argument("teams", nargs=-1, required=True, type=PATH, metavar="TEAM...")
@click.option("--http", default="127.0.0.1:8765", metavar="HOST:PORT", show_default=True, help="Where to listen.")
@listen_options
@click.option("--approve", multiple=True, metavar="PATTERN", help="Functions that may be called without asking.")
@click.option("--approve-plan", is_flag=True, help="Approve every plan without asking.")
@out_option
@env_file_option
def serve(
    teams: tuple[Path, ...],
    http: str,
    listening: ListenOptions,
    approve: tuple[str, ...],
    approve_plan: bool,
    out: Path,
    env_file: Path | None,
) -> int:
    """Serve each TEAM to others' clients: by MCP, A2A, AG-UI, and as a model of an OpenAI-compatible API.

    Plans and calls to review are asked of the client where its protocol can; a run that nobody answers for half an
    hour is cancelled. A2A and AG-UI need the extras magentic-kit[a2a] and magentic-kit[ag-ui].

    The last address printed is the live page, as of `ui`, for whoever operates this: all runs, also those of clients.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end

    for team in teams:
        load_environment(env_file, beside=team)

    async def serve_all() -> int:
        from magentic_kit.serve.http import listen, parse_address, serve_while, url_of

        stop = asyncio.Event()
        on_signals(stop.set, lambda: None)
        host, port = parse_address(http, "--http")
        access = listening.access(host)

        with loading():
            from magentic_kit.serve.app import PAGE, addresses, app_of
            from magentic_kit.serve.page.security import Keys
            from magentic_kit.serve.teams import ServerOptions, open_teams

        options = ServerOptions(out=out, concurrency=listening.concurrency, approve=approve, approve_plan=approve_plan)
        async with open_teams(teams, options) as opened:
            keys = Keys(access.token)
            app = app_of(opened, access, keys)
            sockets = listen(host, port)
            url = url_of(host, sockets[0])
            say(addresses(opened, url), err=True)
            token = keys.token
            if listening.token_env is not None:
                token = f"${listening.token_env}"  # whoever reads this has it or should not
            say(f"  page    {url}{PAGE}/?token={token}", err=True)
            await serve_while(app, app.router.lifespan_context(app), sockets, stop)
        if stop.is_set():
            return 130
        return 0

    quiet_logs()
    return run_to_end(serve_all)
