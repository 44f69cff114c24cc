"""What /metrics tells: numbers of this run for Prometheus, none of which is about one visitor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from faceinsight import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
FRAME_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5)
EVENT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

disable_created_metrics()  # type: ignore[no-untyped-call]
registry = CollectorRegistry()
# Memory, processor time and open files of the server's process.
ProcessCollector(registry=registry)
Gauge("faceinsight_info", "What runs.", ["version"], registry=registry).labels(__version__).set(1)

frames = Counter(
    "faceinsight_frames", "Camera frames that came, by what became of them.", ["outcome"], registry=registry
)
for outcome in ("analysed", "late", "waiting", "problem"):
    frames.labels(outcome)
frame_seconds = Histogram(
    "faceinsight_frame_seconds",
    "From a camera frame's coming to its answer, waiting included.",
    buckets=FRAME_S,
    registry=registry,
)
event_seconds = Histogram(
    "faceinsight_event_seconds",
    "Work on events of the page and of the endpoints, by endpoint; each picture or preview of a long one counts.",
    ["endpoint"],
    buckets=EVENT_S,
    registry=registry,
)
events = Counter(
    "faceinsight_events",
    "Such events: ok, refused with a sentence, or failed.",
    ["endpoint", "outcome"],
    registry=registry,
)
refused = Counter("faceinsight_requests_refused", "Requests that were not let in.", ["status"], registry=registry)
errors = Counter("faceinsight_errors", "Errors that nobody had thought of: see the log.", ["logger"], registry=registry)
errors.labels("faceinsight")


class CountErrors(logging.Handler):
    """Counts what is logged as an error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Counts a record."""
        errors.labels(record.name.split(".")[0]).inc()


def watch(name: str, about: str, read: Callable[[], float]) -> None:
    """Adds a number that is read when somebody asks.

    Args:
        name: What it is called, after `faceinsight_`.
        about: What it is.
        read: Returns it.
    """
    gauge = _gauges.setdefault(name, None) or Gauge(f"faceinsight_{name}", about, registry=registry)
    _gauges[name] = gauge
    gauge.set_function(read)


_gauges: dict[str, Gauge | None] = {}


def text() -> bytes:
    """Returns all of it as Prometheus reads it."""
    return generate_latest(registry)


def merged(texts: Mapping[str, str]) -> bytes:
    """Returns what several processes tell as one, each number with a label `worker`.

    Args:
        texts: What `text` returned in each, by its number.
    """
    families: dict[str, Metric] = {}
    for number, said in texts.items():
        for family in text_string_to_metric_families(said):
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            whole.samples += [one._replace(labels=one.labels | {"worker": number}) for one in family.samples]
    return generate_latest(_Families(families.values()))


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
