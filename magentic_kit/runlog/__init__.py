"""The append-only log of a run: its record, replay and redaction.

Imports `errors`, `events` and `text`, never Semantic Kernel.
"""
