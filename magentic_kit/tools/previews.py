"""What a function call would change, shown to a person before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semantic_kernel.functions.kernel_function import KernelFunction

from magentic_kit.tools.threads import in_daemon_thread


async def changes_of(function: KernelFunction, arguments: Mapping[str, Any]) -> Mapping[str, str]:
    """What a call would change, from the function's `preview`; nothing where there is none, or where it fails."""
    preview = getattr(getattr(function, "method", None), "preview", None)
    if preview is None:
        return {}
    try:
        changes: Mapping[str, str] = await in_daemon_thread(lambda: preview(**arguments))
    except Exception:  # the call itself will tell what is wrong with its arguments
        return {}
    return changes
