"""OpenTelemetry hears of every run: one root span above Semantic Kernel's own, the run's events, and metrics."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import sample_events as sample
from support.openai_server import OpenAIServer, TeamBrain

from magentic_kit import ConfigError, TeamFactory
from magentic_kit import events as ev
from magentic_kit.views.otel import OtelView, otel_views

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "configs" / "sales_analysis.yaml"
AT_ONCE = {"services.default.delay": "1ms"}
CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


class Heard:
    """A view on the SDK's in-memory exporters, and what they got."""

    def __init__(self) -> None:
        self._spans, self._reader, spans = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
        spans.add_span_processor(SimpleSpanProcessor(self._spans))
        self.view = OtelView(tracer_provider=spans, meter_provider=MeterProvider([self._reader]))

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def points(self, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """Attributes, and how often (of a histogram) or how many (of a counter)."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        points = [p for s in scopes for m in s.metrics if m.name == metric for p in m.data.data_points]
        return [(dict(point.attributes), getattr(point, "count", None) or point.value) for point in points]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    monkeypatch.delenv(CAPTURE, raising=False)
    return Heard()


async def demo(*views: Any) -> Any:
    async with TeamFactory.from_yaml(DEMO, overrides=AT_ONCE) as factory:
        return await factory.run(views=views, out=None)


async def test_a_run_is_a_span_with_the_run_s_events(heard: Heard) -> None:
    events: list[ev.AnyEvent] = []
    result = await demo(lambda event, _: events.append(event), heard.view)
    (span,) = heard.spans
    assert (span.name, span.status.is_unset, span.parent) == ("invoke_workflow sales-analysis", True, None)
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "sales-analysis",
        "gen_ai.conversation.id": result.run_id,
        "gen_ai.usage.input_tokens": result.prompt_tokens,
        "gen_ai.usage.output_tokens": result.completion_tokens,
        "magentic_kit.outcome": "satisfied",
        "magentic_kit.rounds": 3,
        "magentic_kit.stalls": 0,
        "magentic_kit.resets": 0,
    }
    assert [event.name for event in span.events] == [event.type for event in events if event.logged]
    assert trace.get_current_span() is trace.INVALID_SPAN, "the caller's context is as it was"


async def test_metrics_count_calls_tokens_rounds_and_outcomes(heard: Heard) -> None:
    await demo(heard.view)
    call = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "scripted", "gen_ai.request.model": "scripted"}
    calls = heard.points("gen_ai.client.operation.duration")
    assert [
        ({**call, "gen_ai.agent.name": who}, n) for who, n in (("manager", 7), ("Analyst", 4), ("Writer", 1))
    ] == calls
    tokens = heard.points("gen_ai.client.token.usage")
    assert {attributes["gen_ai.token.type"] for attributes, _ in tokens} == {"input", "output"}
    assert sum(count for _, count in tokens) == 24
    tool = {"gen_ai.tool.name": "sales.query", "magentic_kit.status": "finished"}
    assert heard.points("magentic_kit.tool.calls") == [(tool, 2)]
    assert sum(count for _, count in heard.points("magentic_kit.rounds")) == 3
    ended = {"gen_ai.workflow.name": "sales-analysis", "magentic_kit.outcome": "satisfied"}
    assert heard.points("magentic_kit.run.duration") == [(ended, 1)]


@pytest.mark.parametrize(
    ("run", "expected", "status"),
    [
        (sample.limited, {"magentic_kit.outcome": "limited", "magentic_kit.reason": "max_rounds"}, "UNSET"),
        (sample.cancelled, {"magentic_kit.outcome": "cancelled"}, "UNSET"),
        (sample.failed_in_the_plan, {"magentic_kit.outcome": "failed", "error.type": "service"}, "ERROR"),
    ],
)
def test_the_span_tells_how_the_run_ended(run: Any, expected: dict[str, str], status: str, heard: Heard) -> None:
    sample.feed(heard.view, [replace(event, time="9999-01-01T00:00:00.000Z") for event in run()])
    (span,) = heard.spans
    assert expected.items() <= dict(span.attributes or {}).items()
    assert span.status.status_code.name == status


def test_what_a_resumed_run_did_before_is_not_told_again(heard: Heard) -> None:
    sample.feed(heard.view, sample.satisfied())  # from long ago
    (span,) = heard.spans
    assert [event.name for event in span.events] == ["run_started"]
    assert heard.points("magentic_kit.rounds") == []
    assert dict(span.attributes or {})["magentic_kit.rounds"] == 3


@pytest.mark.parametrize("capture", ["", "true"])
async def test_what_was_said_is_told_only_if_asked_for(capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPTURE, capture)
    heard = Heard()
    result = await demo(heard.view)
    told = heard.spans[0].to_json()
    for words in (result.answer.splitlines()[0], result.record.task, result.record.plans[0].plan.splitlines()[0]):
        assert (words.strip("*") in told) is bool(capture)


def test_without_a_wish_an_endpoint_or_a_provider_there_is_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    assert otel_views(asked=False) == []


@pytest.mark.parametrize("asked", [True, False])
def test_a_missing_exporter_is_named_and_stops_only_who_asked(
    asked: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SEMANTICKERNEL_EXPERIMENTAL_GENAI_ENABLE_OTEL_DIAGNOSTICS", "false")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    if asked:
        with pytest.raises(ConfigError, match=r"pip install 'magentic-kit\[otel\]'"):
            otel_views(asked=True)
    else:
        assert otel_views(asked=False) == []
        assert "pip install 'magentic-kit[otel]'" in caplog.text


@dataclass
class Collector:
    """An OTLP receiver on loopback."""

    url: str
    spans: list[Any]
    metrics: list[str]


@pytest.fixture
def collector() -> Iterator[Collector]:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            if self.path == "/v1/traces":
                sent = ExportTraceServiceRequest.FromString(body).resource_spans
                got.spans += [span for resource in sent for scope in resource.scope_spans for span in scope.spans]
            else:
                told = ExportMetricsServiceRequest.FromString(body).resource_metrics
                got.metrics += [m.name for resource in told for scope in resource.scope_metrics for m in scope.metrics]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    got = Collector(f"http://127.0.0.1:{server.server_port}", [], [])
    Thread(target=server.serve_forever, daemon=True).start()
    yield got
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.fresh  # Semantic Kernel reads whether it traces when it is imported
def test_the_command_exports_the_run_with_semantic_kernel_s_spans_below_it(
    collector: Collector, tmp_path: Path
) -> None:
    brain = TeamBrain(rounds=[("Analyst", "look")], agents={"Analyst": ["one fact"]})
    with OpenAIServer(brain) as server:
        team = tmp_path / "team.yaml"
        team.write_text(
            f"name: t\nservices: {{default: {{provider: openai, model: m, base_url: '{server.base_url}'}}}}\n"
            "agents: [{name: Analyst, description: Finds facts., instructions: Be exact.}]\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "magentic_kit", "run", str(team), "Why?", "--quiet"],
            env={**os.environ, "OPENAI_API_KEY": "sk-test", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
            cwd=tmp_path, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "The final answer.\n"), done.stderr
    (root,) = [span for span in collector.spans if not span.parent_span_id]
    assert root.name == "invoke_workflow t"
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    names = [span.name for span in collector.spans]
    assert {"chat m", "invoke_agent Analyst"} <= set(names), "Semantic Kernel's own"
    assert names.count("chat m") == len(server.requests)
    assert {"gen_ai.client.token.usage", "magentic_kit.run.duration"} <= set(collector.metrics)


async def test_a_resumed_run_is_a_span_of_its_own_for_what_is_new(heard: Heard, tmp_path: Path) -> None:
    async with TeamFactory.from_yaml(DEMO, overrides=AT_ONCE) as factory:
        run = factory.start(views=[heard.view], out=tmp_path)
        async for event in run.events():
            if isinstance(event, ev.AgentMessage):
                run.cancel()
        run_dir = (await run.result()).run_dir
    assert run_dir is not None
    async with TeamFactory.from_run(run_dir) as factory:
        result = await factory.resume(run_dir, views=[heard.view]).result()
    first, second = heard.spans
    assert [event.name for event in second.events][:2] == ["run_started", "run_resumed"]
    assert [event.name for event in first.events].count("agent_message") == 1
    assert dict(second.attributes or {})["magentic_kit.rounds"] == result.rounds == 3
    assert sum(count for _, count in heard.points("magentic_kit.rounds")) == 3, "nothing is counted twice"
    assert trace.get_current_span() is trace.INVALID_SPAN, "the caller's context is as it was"
