"""Teams served to others' clients.

An extra on the public API: imports `factory`, `run`, `embed` and below.
"""
