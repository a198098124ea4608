"""No process of an MCP server outlives a service that was killed."""

import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.running import RunningService, running_service

SERVER = Path(__file__).parents[1] / "integrations" / "programs" / "stubborn_server.py"


def stubborn(pids: Path) -> dict[str, Any]:
    """An `mcp.json` with a server that ends by force only, as do the two that it starts."""
    return {"mcpServers": {"stubborn": {"command": sys.executable, "args": [str(SERVER), str(pids)]}}}


def started(service: RunningService, pids: Path) -> list[psutil.Process]:
    """The processes of the server, which answers."""
    with service.client() as client:
        reply = client.post("/api/v1/plugins/mcp/stubborn/tools/process/call", json={"arguments": {}})
        assert reply.status_code == 200, reply.text
    return [psutil.Process(int(pid)) for pid in pids.read_text().splitlines()[-1].split()]


def watches(service: RunningService) -> list[psutil.Process]:
    """Who waits for the end of the service."""
    children = psutil.Process(service.process.pid).children()
    return [child for child in children if any("orphans.py" in part for part in child.cmdline())]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def end_soon(processes: list[psutil.Process]) -> bool:
    """Whether all of them end within some seconds; whoever does not is killed."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if not running(processes):
            return True
        time.sleep(0.02)
    for process in running(processes):
        process.kill()
    return False


def test_servers_that_only_a_kill_ends_go_with_their_killed_service_or_at_the_next_start(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with running_service(tmp_path, stubborn(pids)) as service:
        processes = started(service, pids)
        (watch,) = watches(service)
        watch.kill()
        service.kill()
        assert running(processes) == processes
    with running_service(tmp_path, stubborn(pids)) as service:
        assert running(processes) == []
        assert "had outlived their service" in service.log
        processes = [*started(service, pids), *watches(service)]
        assert len(running(processes)) == 4
        service.kill()
        assert end_soon(processes)
