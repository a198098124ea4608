"""What redaction took out of a run that waits for people: sealed, because its true arguments are needed once more."""

import base64
import json
from typing import Final, cast

import structlog

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.json_types import JsonObject, JsonValue
from orchestrator.core.redacted_run import merged
from orchestrator.store.encryption import MissingKeyError, Sealer

_CONTEXT: Final = "withheld of "

log = structlog.stdlib.get_logger(__name__)


class WithheldVault:
    """Seals and opens it; without a key nothing is kept, and whoever wants to approve is told."""

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    def sealed(self, withheld: JsonObject, response_id: str) -> JsonObject | None:
        """`withheld` as a row may have it, or None where it is not kept."""
        if self._sealer is None:
            return None
        try:
            content, key = self._sealer.seal(json.dumps(withheld).encode(), _CONTEXT + response_id)
        except OrchestratorError as error:
            log.warning("what was redacted is not kept for the approval", reason=error.info.message)
            return None
        return {"content": base64.b64encode(content).decode(), "key": key}

    def opened(self, sealed: JsonValue, response_id: str) -> JsonObject | None:
        """What was sealed, or None where it cannot be read."""
        if self._sealer is None or not isinstance(sealed, dict):
            return None
        known = cast("dict[str, str]", sealed)
        try:
            content = self._sealer.open(base64.b64decode(known["content"]), known["key"], _CONTEXT + response_id)
        except (MissingKeyError, OrchestratorError) as error:
            reason = error.info.message if isinstance(error, OrchestratorError) else str(error)
            log.warning("what was redacted cannot be read", reason=reason, response_id=response_id)
            return None
        return cast(JsonObject, json.loads(content))

    def added(self, suspension: JsonObject, more: JsonObject, response_id: str) -> JsonObject:
        """`suspension` with `more` among what is sealed in it; unchanged where that cannot be."""
        before: JsonObject | None = {}
        if suspension.get("withheld") is not None:
            before = self.opened(suspension["withheld"], response_id)
        if before is None:
            return suspension
        return {**suspension, "withheld": self.sealed(merged(before, more), response_id)}
