"""What the scorer tells Prometheus; its own registry, so two apps in one process never share a number."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.prediction_log import LogBook
from serving.predictions import Answer
from serving.served import ServedModel, ServedModels

_LATENCY_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counts requests, rows, view statuses and ages; reads the log's own books when scraped."""

    def __init__(self, models: ServedModels, book: LogBook) -> None:
        self._registry = CollectorRegistry()
        self._models = models
        self._requests = Counter(
            "knownat_requests", "Requests, by route, model and HTTP status.", ["route", "model", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "knownat_predict_seconds", "Seconds from a predict request's arrival to its answer.", ["model"],
            buckets=_LATENCY_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._rows = Counter(
            "knownat_predictions", "Rows answered, by model, version and whether degraded.",
            ["model", "version", "degraded"], registry=self._registry,
        )  # fmt: skip
        self._statuses = Counter(
            "knownat_view_reads", "Rows read from a view, by what became of them.",
            ["model", "view", "status"], registry=self._registry,
        )  # fmt: skip
        self._ages = Gauge(
            "knownat_view_age_seconds", "Age of the oldest row of a view in the last request that found one.",
            ["model", "view"], registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Books(models, book))

    def observe_request(self, route: str, model: str, status: int) -> None:
        """Count one request; a model that is not served counts as 'unknown', so that names stay few."""
        known = model if not model or model in self._models.current else "unknown"
        self._requests.labels(route, known, str(status)).inc()

    def observe_answer(self, model: ServedModel, answer: Answer, *, now_us: int, elapsed_us: int) -> None:
        """Count the rows of one answer and what became of their views."""
        self._seconds.labels(model.name).observe(elapsed_us / 1e6)
        for degraded in (False, True):
            rows = answer.degraded.count(degraded)
            self._rows.labels(model.name, model.version, str(degraded).lower()).inc(rows)
        for view, statuses in answer.read.status.items():
            for status in set(statuses):
                self._statuses.labels(model.name, view, status.value).inc(statuses.count(status))
            if events := [event for event in answer.read.event_us[view] if event is not None]:
                self._ages.labels(model.name, view).set((now_us - min(events)) / 1e6)

    def exposition(self) -> bytes:
        """Render everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Books(Collector):
    """What is counted elsewhere, read at the moment of a scrape."""

    def __init__(self, models: ServedModels, book: LogBook) -> None:
        self._models = models
        self._book = book

    def collect(self) -> Iterable[Metric]:
        yield from self._log()
        served = GaugeMetricFamily(
            "knownat_model_served", "The version that serves.", labels=["model", "version"]
        )
        for model in self._models.current.values():
            served.add_metric([model.name, model.version], 1)
        refused = GaugeMetricFamily("knownat_refused", "Deployed and not taken up.", labels=["model"])
        for name in self._models.problems:
            refused.add_metric([name], 1)
        yield from (served, refused)

    def _log(self) -> Iterator[Metric]:
        accepted = CounterMetricFamily("knownat_log_accepted", "Rows given to the log.", labels=["log"])
        written = CounterMetricFamily("knownat_log_written", "Rows in the log.", labels=["log"])
        dropped = CounterMetricFamily(
            "knownat_log_dropped", "Rows lost, by reason.", labels=["log", "reason"]
        )
        for name, counts in self._book.counts().items():
            accepted.add_metric([name], counts.accepted)
            written.add_metric([name], counts.written)
            for reason, rows in counts.dropped.items():
                dropped.add_metric([name, reason], rows)
        yield from (accepted, written, dropped)
