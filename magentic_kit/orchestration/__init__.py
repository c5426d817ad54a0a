"""Agents, manager, prompts and model calls: the parts of one run for SK's `MagenticOrchestration`.

Imports `services`, `tools` and below.
"""
