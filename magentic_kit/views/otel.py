"""OpenTelemetry: a root span for each run, with Semantic Kernel's own spans below it, its events, and metrics."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextvars import Token
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from opentelemetry import context, metrics, trace

from magentic_kit import events as ev
from magentic_kit.errors import ConfigError
from magentic_kit.runlog.record import RunRecord, View
from magentic_kit.runlog.redaction import redactor_of_all

logger = logging.getLogger(__name__)

_NAMES = {"agent", "call", "decision", "function", "kind", "limit", "model", "next_speaker", "outcome", "purpose"}
_NAMES |= {"service", "team", "tier", "who"}
"""Fields of events whose texts are names and not what somebody said."""

_PROVIDERS = {"azure_openai": "azure.ai.openai", "azure_ai_inference": "azure.ai.inference", "bedrock": "aws.bedrock"}
_PROVIDERS |= {"google": "gcp.gen_ai", "mistral": "mistral_ai"}
"""Providers that the GenAI semantic conventions call otherwise; the buckets below are theirs too."""

_SECONDS = {"explicit_bucket_boundaries_advisory": [0.01 * 2**n for n in range(14)]}
_TOKENS = {"explicit_bucket_boundaries_advisory": [4**n for n in range(14)]}


def otel_views(*, asked: bool) -> list[View]:
    """The view, exporting by OTLP, if `asked` for, if the environment names an endpoint, or if a provider is set.

    Call it before Semantic Kernel is imported: that is when it decides about its own spans. Raises `ConfigError`
    if it is asked for and a package is missing.
    """
    provided = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    named = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_", "METRICS_"))
    if not (asked or named or provided):
        return []
    os.environ.setdefault("SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS", "true")
    try:
        if not provided:
            _export()
    except ImportError as error:
        missing = f"{error.name} is missing: pip install 'magentic-kit[otel]'"
        if asked:
            raise ConfigError.one(missing, file="--otel") from error
        logger.warning("an OTLP endpoint is set, but %s", missing)
        return []
    return [OtelView()]


def _export() -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from magentic_kit.views.otel_export import RedactedSpanExporter, redacted_resource

    named = Resource.create({"service.name": "magentic-kit", **OTELResourceDetector().detect().attributes})
    resource = redacted_resource(named, redactor_of_all())
    spans = TracerProvider(resource=resource)
    spans.add_span_processor(BatchSpanProcessor(RedactedSpanExporter(OTLPSpanExporter())))
    trace.set_tracer_provider(spans)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource))


@dataclass
class _Run:
    span: trace.Span
    token: Token[context.Context]
    since: str


class OtelView:
    """A view, for any number of runs, that tells OpenTelemetry of them (default: the global providers).

    The span `invoke_workflow TEAM` is current within the run, and so the parent of Semantic Kernel's spans. Its
    events are the run's; the SDK keeps the last 128 unless `OTEL_SPAN_EVENT_COUNT_LIMIT` says otherwise. What was
    said is left out unless `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` is `true`.

    A run's events come without secrets. Semantic Kernel's own spans do not: a provider of your own needs
    `RedactedSpanExporter(exporter)` (in `magentic_kit.views.otel_export`) in place of each exporter.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("magentic_kit", version("magentic-kit"), tracer_provider)
        meter = metrics.get_meter("magentic_kit", version("magentic-kit"), meter_provider)
        self._calls = meter.create_histogram("gen_ai.client.operation.duration", "s", "Model calls.", **_SECONDS)
        self._tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of calls.", **_TOKENS)
        self._ended = meter.create_histogram("magentic_kit.run.duration", "s", "Runs by outcome.", **_SECONDS)
        self._tools = meter.create_counter("magentic_kit.tool.calls", "{call}", "Tool calls by status.")
        self._rounds = meter.create_counter("magentic_kit.rounds", "{round}", "Agents' turns.")
        self._words = os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").lower() == "true"
        self._runs: dict[str, _Run] = {}

    def __call__(self, event: ev.AnyEvent, record: RunRecord) -> None:
        """Tells what happened."""
        if isinstance(event, ev.RunStarted):
            self._start(event)
        run = self._runs.get(event.run_id)
        if run is None or not event.logged:
            return
        live = event.time >= run.since  # a resumed run shows first what it has told before
        if live or isinstance(event, ev.RunStarted):
            run.span.add_event(event.type, dict(self._attributes(event)))
            self._measure(event, record)
        if isinstance(event, ev.RunFinished) and (live or event.outcome in ("satisfied", "rejected")):
            self._end(self._runs.pop(event.run_id), event, record)

    def _start(self, event: ev.RunStarted) -> None:
        span = self._tracer.start_span(f"invoke_workflow {event.team}")
        known = {"operation.name": "invoke_workflow", "workflow.name": event.team, "conversation.id": event.run_id}
        span.set_attributes({f"gen_ai.{name}": value for name, value in known.items()})
        # Views are called in the run's own task, from whose context Semantic Kernel's tasks take theirs.
        token = context.attach(trace.set_span_in_context(span))
        self._runs[event.run_id] = _Run(span, token, since=ev.now())

    def _end(self, run: _Run, event: ev.RunFinished, record: RunRecord) -> None:
        span = run.span
        ending = {"magentic_kit.outcome": event.outcome}
        if event.outcome in ("limited", "failed"):  # else the reason is a person's words
            ending["magentic_kit.reason"] = event.reason
        own = {"rounds": len(record.turns), "stalls": record.stalls, "resets": record.resets}
        span.set_attributes({**ending, **{f"magentic_kit.{name}": number for name, number in own.items()}})
        totals = record.totals
        tokens = ev.Usage(prompt_tokens=totals["prompt_tokens"], completion_tokens=totals["completion_tokens"])
        span.set_attributes({f"gen_ai.usage.{kind}_tokens": count for kind, count in _counts(tokens).items()})
        if event.error:
            span.set_attribute("error.type", event.error["kind"])
            span.set_status(trace.StatusCode.ERROR, event.error["message"] if self._words else None)
        span.end()
        context.detach(run.token)
        if event.time >= run.since:
            self._ended.record(event.seconds, {"gen_ai.workflow.name": record.team, **ending})

    def _measure(self, event: ev.AnyEvent, record: RunRecord) -> None:
        match event:
            case ev.ModelCallFinished(reused=False) | ev.ModelCallFailed():
                seat = record.participants.get(event.who, {})
                provider, model = seat.get("provider", ""), seat.get("model", "")
                call = {"gen_ai.operation.name": "chat", "gen_ai.agent.name": event.who, "gen_ai.request.model": model}
                call["gen_ai.provider.name"] = _PROVIDERS.get(provider, provider)
                if isinstance(event, ev.ModelCallFailed):
                    return self._calls.record(event.seconds, {**call, "error.type": event.kind})
                self._calls.record(event.seconds, call)
                for kind, count in _counts(event.usage).items():
                    self._tokens.record(count, {**call, "gen_ai.token.type": kind})
            case ev.ToolCallFinished(reused=False) | ev.ToolCallFailed() | ev.ToolCallDenied():
                status = event.type.removeprefix("tool_call_")
                name = event.function if status != "denied" else ""  # which the model may have made up
                self._tools.add(1, {"gen_ai.tool.name": name, "magentic_kit.status": status})
            case ev.AgentMessage():
                self._rounds.add(1, {"gen_ai.workflow.name": record.team, "gen_ai.agent.name": event.agent})

    def _attributes(self, event: ev.AnyEvent) -> Iterator[tuple[str, Any]]:
        for name, value in vars(event).items():
            if isinstance(value, ev.Judgement):
                value = value.answer
            elif isinstance(value, ev.RunLimits):
                value = ev.as_data(value)
            if isinstance(value, ev.Usage):
                yield from ((f"gen_ai.usage.{kind}_tokens", count) for kind, count in _counts(value).items())
            elif isinstance(value, int | float) or (isinstance(value, str) and (name in _NAMES or self._words)):
                yield f"magentic_kit.{name}", value
            elif value and self._words and name != "request":  # that is Semantic Kernel's to tell
                yield f"magentic_kit.{name}", json.dumps(value, default=str)


def _counts(usage: ev.Usage) -> dict[str, int]:
    counts = {"input": usage.prompt_tokens, "output": usage.completion_tokens}
    return {kind: count for kind, count in counts.items() if count is not None}
