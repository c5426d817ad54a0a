"""The team file: strict models with places, plan files, and what people are asked.

Imports `errors`, `events` and `text` only.
"""
