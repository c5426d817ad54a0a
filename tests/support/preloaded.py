"""Imports, once for all processes that are forked later, what commands and runs import when they need it."""

import gc
import importlib
import pkgutil
from contextlib import suppress

import magentic_kit

OTHERS = (
    "anyio._backends._asyncio",
    "filelock",
    "genai_prices.data_snapshot",
    "mcp.client.stdio",
    "mcp.server.fastmcp",
    "openai.lib.streaming.chat",
    "openai.resources.chat",
    "semantic_kernel.connectors.ai.open_ai",
    "uvicorn",
)
OWN = (module.name for module in pkgutil.walk_packages(magentic_kit.__path__, "magentic_kit."))

for name in (*OTHERS, *OWN):
    if name != "magentic_kit.__main__":  # which runs
        with suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)
gc.collect()
gc.freeze()
