"""Service configs become Semantic Kernel chat-completion services; replies, errors, rate limits.

Imports `team`, `runlog` and below.
"""
