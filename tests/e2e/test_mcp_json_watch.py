"""A running service takes over what is written into `mcp.json`, without a restart."""

import json
import time
from pathlib import Path

from tests.e2e.running import RunningService, running_service

CLOCK = {"command": "clock-mcp"}
TIME = 'Use get_current_time with timezone="Asia/Tokyo"'
ATTEMPTS = 1000
INSTALLED, MISSING = 404, 424
"""What a chat with a model that is not there is told: plugins are looked for first."""


def until(service: RunningService, label: str, status: int) -> str:
    """What is said of the plugin once the status is this one."""
    body = {"model": "no/such-model", "input": TIME, "integrations": [f"mcp/{label}"]}
    with service.client() as client:
        for _ in range(ATTEMPTS):
            reply = client.post("/api/v1/chat", json=body)
            if reply.status_code == status:
                return reply.json()["error"]["message"]
            time.sleep(0.02)
    raise AssertionError(f"it did not get to the status {status}:\n{service.log}")


def test_an_edit_takes_effect_and_a_broken_one_keeps_the_last_good_version(tmp_path: Path) -> None:
    config, user = tmp_path / "mcp.json", tmp_path / "user" / "mcp.json"
    with running_service(tmp_path, {"mcpServers": {}}) as service:
        assert until(service, "clock", MISSING) == "Cannot find plugin 'mcp/clock'. Installed plugins: none."
        config.write_text(f"// with a comment\n{json.dumps({'servers': {'clock': CLOCK}})}")
        until(service, "clock", INSTALLED)
        reply = service.chat({"input": TIME, "integrations": ["mcp/clock"], "store": False}).json()
        assert reply["output"][0]["tool"] == "get_current_time"
        config.write_text('{"mcpServers": {')
        user.parent.mkdir()
        user.write_text(json.dumps({"mcpServers": {"mine": CLOCK}}))
        until(service, "mine", INSTALLED)
        until(service, "clock", INSTALLED)
        assert "mcp.json cannot be used; what it last said still counts" in service.log
        config.write_text(json.dumps({"mcpServers": {}}))
        message = until(service, "clock", MISSING)
        assert message == "Cannot find plugin 'mcp/clock'. Installed plugins: mcp/mine."
