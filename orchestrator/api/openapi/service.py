"""The service itself, in the OpenAPI document."""

from typing import Final

from orchestrator.api.health import HEALTH_PATH
from orchestrator.api.metrics import METRICS_PATH
from orchestrator.api.openapi.parts import ANYWHERE, WITH_TOKEN, Section, errors, success
from orchestrator.api.wire import Health
from orchestrator.core.json_types import JsonObject

METRICS: Final = """\
An extension, in Prometheus' text format: `orchestrator_runs_live`, `orchestrator_requests_queued` and
`orchestrator_slots_taken` of each instance, `orchestrator_instances_loaded`, `orchestrator_engine_up` (1 or 0; an Ollama
that nobody expects and that never answered is left out), `orchestrator_http_requests_total` by the template of the route,
and the histogram `orchestrator_run_seconds`. A token needs the permission `models.read`."""


def _metrics() -> JsonObject:
    told: JsonObject = {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "operationId": "metrics",
        "tags": ["Service"],
        "summary": "Metrics for Prometheus",
        "description": METRICS,
        "responses": {"200": told, **errors(WITH_TOKEN)},
    }


def _health() -> JsonObject:
    not_ready = success("Requests cannot be taken; `reason` says why.", "Health")
    return {
        "operationId": "health",
        "tags": ["Service"],
        "summary": "Whether requests can be taken",
        "security": [{}],
        "responses": {"200": success("They can.", "Health"), "503": not_ready, **errors(ANYWHERE)},
    }


SECTION: Final = Section(
    "Service",
    "How the service is.",
    {METRICS_PATH: {"get": _metrics()}, HEALTH_PATH: {"get": _health()}},
    (Health,),
)
