"""`GET /metrics`: how much there is to do, in Prometheus' text format. Names and numbers, never content.

An extension. The format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from orchestrator.api.auth import Authenticator
from orchestrator.api.errors import OK, HttpRequest
from orchestrator.service.instances import InstanceService
from orchestrator.service.models import ModelService
from orchestrator.service.runs import RunService

METRICS_PATH: Final = "/metrics"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_RUN_SECONDS: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """What is counted as it happens; what simply is, is read when somebody asks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "orchestrator_http_requests",
            "HTTP requests that were answered, by the template of their route.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._runs = Histogram(
            "orchestrator_run_seconds",
            "How long runs took, by what became of them.",
            ("status",),
            buckets=_RUN_SECONDS,
            registry=self.registry,
        )

    def request_answered(self, method: str, route: str, status: int | None) -> None:
        """Count a request; `status` None is one that got no answer."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, "none" if status is None else str(status)).inc()

    def run_ended(self, seconds: float, status: str) -> None:
        """Count a run."""
        self._runs.labels(status).observe(seconds)

    def watch(self, runs: RunService, instances: InstanceService, models: ModelService) -> None:
        """Report the state of these services as well."""
        self.registry.register(_State(runs, instances, models))


class _State(Collector):
    def __init__(self, runs: RunService, instances: InstanceService, models: ModelService) -> None:
        self._runs = runs
        self._instances = instances
        self._models = models

    def collect(self) -> Iterable[Metric]:
        live = GaugeMetricFamily("orchestrator_runs_live", "Runs in flight.", value=self._runs.live)
        queued = GaugeMetricFamily(
            "orchestrator_requests_queued", "Turns that wait for a slot.", labels=("engine", "instance")
        )
        taken = GaugeMetricFamily("orchestrator_slots_taken", "Slots in use.", labels=("engine", "instance"))
        loaded = GaugeMetricFamily(
            "orchestrator_instances_loaded", "Model instances that this service has loaded or uses.", labels=("engine",)
        )
        present = [instance for instance in self._instances.instances() if instance.ready]
        for engine, count in Tally(instance.engine.name for instance in present).items():
            loaded.add_metric((engine,), count)
        for instance in present:
            if instance.queue is not None:
                labels = (instance.engine.name, instance.id)
                queued.add_metric(labels, instance.queue.waiting)
                taken.add_metric(labels, instance.queue.taken)
        up = GaugeMetricFamily(
            "orchestrator_engine_up", "Whether the engine answered when it was last asked.", labels=("engine",)
        )
        for health in self._models.health():
            up.add_metric((health.engine,), int(health.up))
        return live, queued, taken, loaded, up


def metrics_route(metrics: Metrics, authenticator: Authenticator) -> HTTPRouteHandler:
    """The route."""

    @get(METRICS_PATH)
    async def read_metrics(request: HttpRequest) -> ASGIResponse:
        caller = await authenticator.caller(request)
        caller.require("models.read", "The API token has no permission to read metrics.")
        return ASGIResponse(
            body=generate_latest(metrics.registry),
            status_code=OK,
            media_type=CONTENT_TYPE_LATEST,
            headers={"Cache-Control": "no-store"},
        )

    return read_metrics
