"""`mcp`: teams as tools of an MCP server, over stdio or streamable HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.options import PATH, POSITIVE, env_file_option, out_option
from magentic_kit.cli.output import say
from magentic_kit.cli.serving import token_of
from magentic_kit.errors import ConfigError


@click.command()
@click.argument("teams", nargs=-1, required=True, type=PATH, metavar="TEAM...")
@click.option("--http", default="", metavar="HOST:PORT", help="Serve streamable HTTP here; default: stdio.")
@click.option("--token-env", metavar="NAME", help="Variable with the bearer token to ask for; needed beyond loopback.")
@click.option("--allow-host", "hosts", multiple=True, metavar="HOST", help="Another host name that clients may use.")
@click.option(
    "--concurrency", type=POSITIVE, default=8, metavar="N", show_default=True, help="Runs at once; more calls wait."
)
@out_option
@env_file_option
def mcp(
    teams: tuple[Path, ...],
    http: str,
    token_env: str | None,
    hosts: tuple[str, ...],
    concurrency: int,
    out: Path,
    env_file: Path | None,
) -> int:
    """Serve each TEAM as a tool of an MCP server, with progress for each round; a cancelled request ends its run.

    Over HTTP, the server answers requests of this machine that no page of another origin sent.
    """
    import asyncio

    from magentic_kit.cli.process import on_signals, quiet_logs, run_to_end

    if not http and (token_env or hosts):
        raise ConfigError.one("--token-env and --allow-host go with --http", file="command line")
    for team in teams:
        load_environment(env_file, beside=team)

    async def serve() -> int:
        from magentic_kit.serve.guard import Access
        from magentic_kit.serve.http import listen, parse_address, url_of

        stop = asyncio.Event()
        on_signals(stop.set, lambda: None)
        if http:
            host, port = parse_address(http, "--http")
            access = Access.of(host, allow_hosts=hosts, token=token_of(token_env))

        from magentic_kit.serve.mcp import serve_http, serve_stdio, team_server

        async with team_server(teams, out=out, concurrency=concurrency) as server:
            if http:
                listening = listen(host, port)
                say(f"serving on {url_of(host, listening[0])}/mcp", err=True)
                await serve_http(server, listening, access, stop)
            else:
                await serve_stdio(server, stop)
        if stop.is_set():
            return 130
        return 0

    quiet_logs()
    return run_to_end(serve)
