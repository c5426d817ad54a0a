"""Export of spans without secrets: Semantic Kernel's own carry messages and stack traces of whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, Status

from magentic_kit.runlog.redaction import Redactor, redactor_of_all


class RedactedSpanExporter(SpanExporter):
    """Hands spans to another exporter with the secrets of all runs of this process masked in them.

    Every text of a span is looked at: names, attributes, events, links, status, resource and scope.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Exports copies of the spans without secrets."""
        redactor = redactor_of_all()
        return self._exporter.export([redacted_span(span, redactor) for span in spans])

    def shutdown(self) -> None:
        """Shuts the other exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Lets the other exporter send what it has, within some milliseconds; returns whether it did."""
        return self._exporter.force_flush(timeout_millis)


def redacted_span(span: ReadableSpan, redactor: Redactor) -> ReadableSpan:
    """A copy of a span without secrets."""
    scope = span.instrumentation_scope
    return ReadableSpan(
        name=redactor.text(span.name),
        context=span.context,
        parent=span.parent,
        resource=redacted_resource(span.resource, redactor),
        attributes=_attributes(span.attributes, redactor),
        events=[Event(redactor.text(e.name), _attributes(e.attributes, redactor), e.timestamp) for e in span.events],
        links=[Link(link.context, _attributes(link.attributes, redactor)) for link in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, span.status.description and redactor.text(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope and _scope(scope, redactor),
    )


def redacted_resource(resource: Resource, redactor: Redactor) -> Resource:
    """A copy of a resource without secrets."""
    return Resource(_attributes(resource.attributes, redactor), resource.schema_url)


def _scope(scope: InstrumentationScope, redactor: Redactor) -> InstrumentationScope:
    attributes = _attributes(scope.attributes, redactor)
    return InstrumentationScope(scope.name, scope.version, scope.schema_url, attributes)


def _attributes(attributes: Mapping[str, Any] | None, redactor: Redactor) -> dict[str, Any]:
    return {redactor.text(name): _masked(value, redactor) for name, value in (attributes or {}).items()}


def _masked(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, bytes):
        return redactor.text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if isinstance(value, tuple):
        return tuple(redactor.value(value))
    return redactor.value(value)
