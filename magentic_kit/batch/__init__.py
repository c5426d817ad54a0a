"""Many tasks for one team, and checks of the answers.

An extra on the public API: imports `factory`, `run` and below.
"""
