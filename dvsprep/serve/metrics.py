"""Prometheus metrics, named by one rule: ``dvsprep_<noun>_<what happened>_<unit>``, and ``_total`` for what only grows.

dvsprep_requests_answered_total{route,status}   dvsprep_request_duration_seconds{route}
dvsprep_bytes_sent_total{route}                 dvsprep_samples_sent_total
dvsprep_builds_ended_total{state}               dvsprep_caches_listed

``route`` is the pattern of the address, never the address. With several workers, ``PROMETHEUS_MULTIPROC_DIR`` (made by
``dvsprep serve``) joins what each of them counts.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["BUILDS", "BYTES", "CACHES", "CONTENT_TYPE_LATEST", "REQUESTS", "SAMPLES", "SECONDS", "text"]
REQUESTS = Counter("dvsprep_requests_answered", "Requests by route and status.", ["route", "status"])
SECONDS = Histogram("dvsprep_request_duration_seconds", "Time until an answer is sent, by route.", ["route"])
BYTES = Counter("dvsprep_bytes_sent", "Bytes of bodies sent, by route.", ["route"])
SAMPLES = Counter("dvsprep_samples_sent", "Samples sent.")
BUILDS = Counter("dvsprep_builds_ended", "Builds by how they ended.", ["state"])
CACHES = Gauge("dvsprep_caches_listed", "Caches that can be asked for.", multiprocess_mode="mostrecent")


def text() -> bytes:
    """Return all metrics, of all workers."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
