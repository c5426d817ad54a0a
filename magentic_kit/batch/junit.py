"""The results of a batch as JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from magentic_kit.batch.results import TaskResult
from magentic_kit.batch.runner import Batch
from magentic_kit.text import printable


def junit(batch: Batch, results: Iterable[TaskResult]) -> bytes:
    """The results by task as JUnit XML; what did not run to an end counts as skipped."""
    name, by_id = batch.factory.blueprint.config.name, {result.id: result for result in results}
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(batch.tasks)))
    for task in batch.tasks:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=_xml(task.id))
        result = by_id.get(task.id)
        if result is None or result.outcome == "cancelled":
            ElementTree.SubElement(case, "skipped")
            continue
        case.set("time", f"{result.seconds:.3f}")
        if not result.passed:
            why = [f"{check.check}: {check.problem}" for check in result.checks if check.problem]
            message = result.error or (why or [result.outcome])[0]
            trouble = ElementTree.SubElement(case, "error" if result.outcome == "failed" else "failure")
            trouble.set("message", _xml(message))
            trouble.text = _xml("\n".join(why))
        ElementTree.SubElement(case, "system-out").text = _xml(result.answer)
    for kind, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
        suite.set(kind, str(len(suite.findall(f"*/{tag}"))))
    xml: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return xml


def _xml(text: str) -> str:
    return re.sub("[\ufffe\uffff]", "\ufffd", printable(text))  # which XML cannot hold either
