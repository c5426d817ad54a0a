"""Semantic Kernel's import, which takes seconds: what is shown meanwhile, and how it is quickest."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from magentic_kit.views.console import Console

LOADING = "loading Semantic Kernel"


@contextmanager
def loading(console: Console | None = None) -> Iterator[None]:
    """Imports go in the block; the console shows what is waited for.

    Python's collector rests meanwhile, and never looks at what was imported: it would walk through these half a million
    objects again and again, a quarter of the import's time and a tenth of the work's after it.
    """
    gc.disable()
    try:
        with console.waiting(LOADING) if console else nullcontext():
            yield
    finally:
        gc.enable()
        gc.freeze()
