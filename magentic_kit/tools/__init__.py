"""Plugin configs become kernel plugins; permissions of their calls.

Imports `team`, `runlog` and below.
"""
