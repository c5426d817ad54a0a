"""Plugin configs become kernel plugins; their calls are resolved, judged and logged.

Imports `team`, `runlog` and below.
"""
