"""What one run writes and obeys: events on their way to log and views, recorded steps, limits.

Imports `errors`, `events` and `text`, never Semantic Kernel.
"""
