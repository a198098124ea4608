"""What a newcomer copies from the README is what is tested."""

import json
import re
from pathlib import Path

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
    request, reply = (json.loads(body) for body in bodies)
    called = [item["provider_info"] for item in reply["output"] if item["type"] == "tool_call"]
    assert [entry["type"] for entry in request["integrations"]] == [provider["type"] for provider in called]


def test_no_marker_is_left() -> None:
    assert "<!--" not in README
