"""What the scorer tells Prometheus, gathered when it is asked: answering only adds to plain integers."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from serving.models import ServedModels
from serving.prediction_log import LogBook
from serving.pressure import Pressure
from serving.served import ServedModel
from serving.shadows import Shadows
from serving.tallies import LATENCY_US


class Metrics:
    """Counts requests; reads tallies and the log's own books when scraped."""

    def __init__(self, models: ServedModels, book: LogBook, *, shadows: Shadows, pressure: Pressure) -> None:
        # A registry of its own, so that two apps in one process never share a number.
        self._registry = CollectorRegistry()
        self._models = models
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._registry.register(_Gathered(models, book, self._requests, shadows, pressure))

    def observe_request(self, route: str, model: str, status: int) -> None:
        """Count one request; a model that is not served counts as 'unknown', so that names stay few."""
        known = model if not model or model in self._models.current else "unknown"
        self._requests[route, known, status] += 1

    def also(self, collector: Collector) -> None:
        """Tell what somebody else counts, too."""
        self._registry.register(collector)

    def exposition(self) -> bytes:
        """Render everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Gathered(Collector):
    """Everything that is counted elsewhere, read at the moment of a scrape."""

    def __init__(
        self,
        models: ServedModels,
        book: LogBook,
        requests: Counter[tuple[str, str, int]],
        shadows: Shadows,
        pressure: Pressure,
    ) -> None:
        self._models = models
        self._book = book
        self._requests = requests
        self._shadows = shadows
        self._pressure = pressure

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "knownat_requests",
            "Requests, by route, model and HTTP status.",
            labels=["route", "model", "status"],
        )
        for (route, model, status), times in sorted(self._requests.items()):
            requests.add_metric([route, model, str(status)], times)
        yield requests
        served = list(self._models.served())
        yield from _answers(served)
        yield from _views(served)
        yield from self._beside(served)
        yield from self._deployment(served)
        yield from self._log()

    def _beside(self, served: list[ServedModel]) -> Iterator[Metric]:
        scored = CounterMetricFamily(
            "knownat_shadow_predictions", "Rows scored as a shadow.", labels=["model", "version"]
        )
        for model in served:
            if model.shadow_tally.rows:
                scored.add_metric([model.name, model.version], model.shadow_tally.rows)
        dropped = CounterMetricFamily(
            "knownat_shadow_dropped", "Requests that found no room before a shadow.", labels=["model"]
        )
        failed = CounterMetricFamily(
            "knownat_shadow_failed", "Requests that a shadow could not score.", labels=["model"]
        )
        for name, times in sorted(self._shadows.dropped.items()):
            dropped.add_metric([name], times)
        for name, times in sorted(self._shadows.failed.items()):
            failed.add_metric([name], times)
        instead = CounterMetricFamily(
            "knownat_store_failures",
            "Rows for which the model's policy stood in for its features.",
            labels=["model", "version"],
        )
        for model in served:
            instead.add_metric([model.name, model.version], model.features.failures)
        shed = CounterMetricFamily("knownat_shed", "Requests refused because too many waited.")
        shed.add_metric([], self._pressure.shed)
        yield from (scored, dropped, failed, instead, shed)

    def _deployment(self, served: list[ServedModel]) -> Iterator[Metric]:
        versions = GaugeMetricFamily(
            "knownat_model_served", "The version that serves.", labels=["model", "version"]
        )
        for model in served:
            versions.add_metric([model.name, model.version], 1)
        refused = GaugeMetricFamily("knownat_refused", "Deployed and not taken up.", labels=["model"])
        for name in self._models.problems:
            refused.add_metric([name], 1)
        yield from (versions, refused)

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


def _answers(served: list[ServedModel]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(
        "knownat_predict_seconds",
        "Seconds from a predict request's arrival to its logged answer.",
        labels=["model", "version"],
    )
    rows = CounterMetricFamily(
        "knownat_predictions",
        "Rows answered, by model, version and whether degraded.",
        labels=["model", "version", "degraded"],
    )
    for model in served:
        tally, total, buckets = model.tally, 0, []
        for bound, times in zip(LATENCY_US, tally.buckets, strict=False):
            total += times
            buckets.append((repr(bound / 1e6), total))
        buckets.append(("+Inf", total + tally.buckets[-1]))
        seconds.add_metric([model.name, model.version], buckets, tally.elapsed_us / 1e6)
        for degraded, number in (("false", tally.rows - tally.degraded), ("true", tally.degraded)):
            rows.add_metric([model.name, model.version, degraded], number)
    yield from (seconds, rows)


def _views(served: list[ServedModel]) -> Iterator[Metric]:
    reads = CounterMetricFamily(
        "knownat_view_reads",
        "Rows read from a view, by what became of them.",
        labels=["model", "version", "view", "status"],
    )
    ages = GaugeMetricFamily(
        "knownat_view_age_seconds",
        "Age of the oldest row of a view in the last answer that had one.",
        labels=["model", "version", "view"],
    )
    for model in served:
        for view, counts in model.tally.statuses().items():
            for status, number in counts.items():
                reads.add_metric([model.name, model.version, view, status.value], number)
        for view, age in model.tally.ages_seconds().items():
            ages.add_metric([model.name, model.version, view], age)
    yield from (reads, ages)
