"""What shows a run: console, report, page, OpenTelemetry.

Consumes events and records; imports `runlog` and below, never Semantic Kernel.
"""
