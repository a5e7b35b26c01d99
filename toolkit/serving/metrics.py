"""What the service counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from toolkit.serving.jobs import Engine

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600)
FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of the doors, and what the engine's status says when they are read."""

    def __init__(self, engine: Engine) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("asr_requests", "Requests that were answered.", labels, registry=registry)
        self._errors = Counter("asr_errors", "Answers that are errors, by their type.", ("type",), registry=registry)
        self._latency = Histogram(
            "asr_request_seconds", "From request to answer.", ("route",), buckets=SECONDS, registry=registry
        )
        self._audio = Counter("asr_audio_seconds", "Seconds of audio that were transcribed.", registry=registry)
        self._factor = Histogram(
            "asr_real_time_factor",
            "Seconds from a job to its transcript, of a second of its audio.",
            buckets=FACTORS,
            registry=registry,
        )
        registry.register(_EngineStatus(engine))
        ProcessCollector(registry=registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, status).inc()
        self._latency.labels(route).observe(seconds)

    def refused(self, kind: str) -> None:
        """Count an error, by its type."""
        self._errors.labels(kind).inc()

    def transcribed(self, audio_s: float, seconds: float) -> None:
        """Count a transcript."""
        self._audio.inc(audio_s)
        if audio_s > 0:
            self._factor.observe(seconds / audio_s)

    def page(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


class _EngineStatus(Collector):
    """The engine's own counters, read when they are asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sizes = Histogram("asr_batch_size", "Windows computed at once.", buckets=SIZES, registry=None)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not looked for before the engine runs."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """What the status says now."""
        status = self._engine.status()
        for size in status.batch_sizes:
            self._sizes.observe(size)
        yield from self._sizes.collect()
        yield GaugeMetricFamily("asr_ready", "Whether all models answer.", float(self._engine.ready))
        yield GaugeMetricFamily("asr_queue_length", "Requests accepted, not answered.", status.waiting_requests)
        yield GaugeMetricFamily("asr_queue_seconds", "Seconds of audio that wait.", status.waiting_s)
        yield GaugeMetricFamily("asr_live_sessions", "Streams of speech that are open.", status.live_sessions)
        yield CounterMetricFamily("asr_batches", "Batches computed.", status.batches)
        yield CounterMetricFamily("asr_windows", "Windows of audio computed.", status.batched_windows)
        yield CounterMetricFamily("asr_computed_audio_seconds", "Seconds of audio in windows.", status.batched_s)
        yield CounterMetricFamily("asr_busy_seconds", "Seconds that devices computed.", status.busy_s)
        yield CounterMetricFamily("asr_restarts", "Model processes that died and were begun anew.", status.restarts)
