"""`python measure.py KIND WORK…`: a line of JSON for each: seconds of processor, megabytes at most, what came of it.

KIND says what a WORK is: `openapi` and `mcp` the JSON of a plugin's config, `sql` and `files` of a call.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from functools import partial
from typing import Any

from bombs import spent
from semantic_kernel.connectors.ai.function_calling_utils import kernel_function_metadata_to_function_call_format

from magentic_kit.team.plugins import MCPStdioPlugin, OpenAPIPlugin
from magentic_kit.tools import mcp
from magentic_kit.tools.builtin.files import FilesPlugin
from magentic_kit.tools.builtin.sql import SqlPlugin

MODELS: dict[str, Any] = {"openapi": OpenAPIPlugin, "mcp": MCPStdioPlugin}


async def start(config: Any) -> str:
    """Starts a plugin and makes what a model is sent of it."""
    servers = mcp.PluginServers({"it": config})
    await servers.open()
    functions = servers.plugins["it"].functions.values() if servers.plugins else ()
    sent = [len(json.dumps(kernel_function_metadata_to_function_call_format(it.metadata))) for it in functions]
    await servers.close()
    return servers.failures.get("it") or f"{len(sent)} functions, the largest of {max(sent)} characters"


def call(kind: str, options: dict[str, Any], function: str, arguments: dict[str, Any]) -> str:
    plugin = {"sql": SqlPlugin, "files": FilesPlugin}[kind](**options)
    result: str = getattr(plugin, function)(**arguments)
    return f"{len(result)} characters, ending in {result[-60:]}"


def main() -> None:
    kind, *works = sys.argv[1:]
    for text in works:
        work = json.loads(text)
        if kind in MODELS:
            job = partial(lambda config: asyncio.run(start(config)), MODELS[kind](type=kind, **work))
        else:
            job = partial(call, kind, *work)
        print(json.dumps(asdict(spent(job))), flush=True)


if __name__ == "__main__":
    main()
