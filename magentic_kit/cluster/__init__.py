"""Runs queued for workers on many machines.

An extra on the public API: imports `factory`, `run`, `batch` and below.
"""
