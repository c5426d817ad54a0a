"""What every side of the comparison is asked; imports nothing, since peers run it in environments of their own."""

from __future__ import annotations

import re

AGENTS = ("Researcher", "Analyst", "Writer")
INSTRUCTIONS = "You are one of three. Do what you are asked, and say what you found."
TASK = re.compile(r"Task (\w+) of (\d+) rounds in (\d+) pieces")


def task(name: str, rounds: int, pieces: int) -> str:
    """What a run is asked, so that the server knows how many rounds it takes and in how many events a turn comes."""
    return f"Task {name} of {rounds} rounds in {pieces} pieces"
