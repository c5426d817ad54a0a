"""`mcp`: teams as tools of an MCP server, over stdio or streamable HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from magentic_kit.cli.environment import load_environment
from magentic_kit.cli.options import PATH, env_file_option, out_option
from magentic_kit.cli.output import say
from magentic_kit.errors import ConfigError


@click.command()
@click.argument("teams", nargs=-1, required=True, type=PATH, metavar="TEAM...")
@click.option("--http", default="", metavar="HOST:PORT", help="Serve streamable HTTP here; default: stdio.")
@out_option
@env_file_option
def mcp(teams: tuple[Path, ...], http: str, out: Path, env_file: Path | None) -> None:
    """Serve each TEAM as a tool of an MCP server, with progress for each round; a cancelled request ends its run."""
    import asyncio

    from magentic_kit.cli.process import quiet_logs

    host, _, port = http.rpartition(":")
    if http and not (host and port.isdecimal()):
        raise ConfigError.one(f"'{http}' should be HOST:PORT, such as 127.0.0.1:8765", file="--http")
    for team in teams:
        load_environment(env_file, beside=team)

    async def serve() -> None:
        from magentic_kit.serve.mcp import serve_http, serve_stdio, team_server

        async with team_server(teams, out=out) as server:
            if not http:
                await serve_stdio(server)
                return
            say(f"serving on http://{host}:{port}/mcp", err=True)
            await serve_http(server, host, int(port))

    quiet_logs()
    asyncio.run(serve())
