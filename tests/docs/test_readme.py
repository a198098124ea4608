"""What a newcomer copies from the README is what is tested."""

import json
import re
from pathlib import Path

from orchestrator.integrations.mcp_json import parse_mcp_json
from orchestrator.integrations.mcp_json_entry import KNOWN_KEYS
from orchestrator.integrations.oauth.config import OAUTH_KEYS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_first_two_blocks_are_the_two_commands_and_ci_runs_the_second() -> None:
    first, second = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[:2]
    assert (first, second) == ("python3 setup demo\n", "python3 setup test\n")
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(f"exec {second.strip()}")


def test_the_example_request_and_its_reply_are_json() -> None:
    bodies = [
        *re.findall(r"-d '(\{.*?\})'$", README, re.MULTILINE | re.DOTALL),
        *re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL),
    ]
    request, reply, _ = (json.loads(body) for body in bodies)
    called = [item["provider_info"] for item in reply["output"] if item["type"] == "tool_call"]
    assert [entry["type"] for entry in request["integrations"]] == [provider["type"] for provider in called]


def test_no_marker_is_left() -> None:
    assert "<!--" not in README


def test_the_example_of_an_mcp_json_can_be_used_and_every_key_of_an_entry_is_explained() -> None:
    example, _ = re.findall(r"^```jsonc\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    config = parse_mcp_json(example, file=ROOT / "mcp.json", environ={"SEARCH_TOKEN": "hush-hush"})
    assert [(plugin.id, plugin.is_usable) for plugin in config.plugins] == [("mcp/browser", True), ("mcp/search", True)]
    assert config.warnings == ()
    table = README.partition("| key | what it says |")[2].partition("\n\n")[0]
    explained = {
        key
        for row in table.splitlines()
        for key in re.findall(r"`(\w+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    assert explained == KNOWN_KEYS


def test_the_example_of_logins_can_be_used_and_every_key_of_one_is_explained() -> None:
    _, example = re.findall(r"^```jsonc\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    config = parse_mcp_json(example, file=ROOT / "mcp.json", environ={"TICKETS_SECRET": "a", "REPORTS_SECRET": "b"})
    assert [plugin.is_usable for plugin in config.plugins] == [True, True, True]
    assert config.warnings == ()
    table = README.partition("| key of `oauth` | meaning |")[2].partition("\n\n")[0]
    first_column = " ".join(row.split("|")[1] for row in table.splitlines() if "|" in row)
    assert set(re.findall(r"`(\w+)`", first_column)) == OAUTH_KEYS
