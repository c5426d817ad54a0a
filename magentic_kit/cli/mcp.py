"""`mcp`: teams as tools of an MCP server, over stdio or streamable HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.listening import ListenOptions, listen_options
from magentic_kit.cli.loading import loading
from magentic_kit.cli.options import PATH, env_file_option, out_option
from magentic_kit.cli.output import say
from magentic_kit.errors import ConfigError


@click.command()
@click.argument("teams", nargs=-1, required=True, type=PATH, metavar="TEAM...")
@click.option("--http", default="", metavar="HOST:PORT", help="Serve streamable HTTP here; default: stdio.")
@listen_options
@out_option
@env_file_option
def mcp(
    teams: tuple[Path, ...],
    http: str,
    listening: ListenOptions,
    out: Path,
    env_file: Path | None,
) -> int:
    """Serve each TEAM as a tool of an MCP server, with progress for each round; a cancelled request ends its run.

    Over HTTP, the server answers requests of this machine that no page of another origin sent.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end

    if not http and (listening.token_env or listening.hosts):
        raise ConfigError.one("--token-env and --allow-host go with --http", file="command line")
    for team in teams:
        load_environment(env_file, beside=team)

    async def serve() -> int:
        from magentic_kit.serve.http import listen, parse_address, url_of

        stop = asyncio.Event()
        on_signals(stop.set, lambda: None)
        if http:
            host, port = parse_address(http, "--http")
            access = listening.access(host)

        with loading():
            from magentic_kit.serve.mcp import serve_http, serve_stdio, team_server
            from magentic_kit.serve.teams import ServerOptions, open_teams

        options = ServerOptions(out=out, concurrency=listening.concurrency)
        async with open_teams(teams, options) as opened:
            server = team_server(opened)
            if http:
                sockets = listen(host, port)
                say(f"serving on {url_of(host, sockets[0])}/mcp", err=True)
                await serve_http(server, sockets, access, stop)
            else:
                await serve_stdio(server, stop)
        if stop.is_set():
            return 130
        return 0

    quiet_logs()
    return run_to_end(serve)
