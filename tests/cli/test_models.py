"""`orchestrator models load`, `unload` and `ps`, against a server on this machine."""

import json

from tests.cli.model_server import LOADED, MODEL, Script, served
from tests.cli.program import one_line, run

LOAD, UNLOAD = "/api/v1/models/load", "/api/v1/models/unload"
REPLY = {
    "type": "llm",
    "instance_id": "a/b:2",
    "load_time_seconds": 1.25,
    "status": "loaded",
    "load_config": {"context_length": 512, "flash_attention": True},
}


def test_a_load_sends_what_was_given_and_says_what_came_of_it() -> None:
    script = Script(replies={LOAD: REPLY})
    with served(script) as url:
        plain = run("models", "load", "a/b", "--url", url)
        options = ("--context-length", "512", "--no-flash-attention", "--parallel", "2", "--ttl", "60")
        as_json = run("models", "load", "a/b", *options, "--url", url, "--json")
    assert plain.exit_code == 0
    assert plain.stdout.splitlines()[-1] == "loaded a/b:2 in 1.2 s (context_length=512, flash_attention=true)"
    assert json.loads(one_line(as_json.stdout)) == REPLY
    asked = {"model": "a/b", "echo_load_config": True}
    given = {"context_length": 512, "flash_attention": False, "parallel": 2, "ttl": 60}
    assert script.requests == [(LOAD, asked), (LOAD, asked | given)]


def test_an_unload_names_what_is_gone() -> None:
    script = Script(replies={UNLOAD: {"instance_id": "a/b:2"}})
    with served(script) as url:
        plain = run("models", "unload", "a/b:2", "--url", url)
        as_json = run("models", "unload", "a/b:2", "--url", url, "--json")
    assert (plain.exit_code, plain.stdout.splitlines()[-1]) == (0, "unloaded a/b:2")
    assert json.loads(one_line(as_json.stdout)) == {"instance_id": "a/b:2"}
    assert script.requests == [(UNLOAD, {"instance_id": "a/b:2"})] * 2


def test_what_is_in_memory_is_listed_and_nothing_else() -> None:
    config = {"context_length": 4096, "parallel": 2}
    loaded = LOADED | {"loaded_instances": [{"id": "a/b:2", "config": config}]}
    with served(Script(models=(loaded, MODEL))) as url:
        plain = run("models", "ps", "--url", url)
        as_json = run("models", "ps", "--url", url, "--json")
    rows = [line.split() for line in plain.stdout.splitlines() if "a/b" in line]
    assert rows == [["a/b:2", "a/b", "5.0", "GiB", "4096", "2", "embedded"]]
    assert json.loads(one_line(as_json.stdout)) == {
        "instances": [{"id": "a/b:2", "model": "a/b", "engine": "embedded", "config": config}]
    }


def test_a_refusal_is_one_line() -> None:
    with served(Script(status=404, error="Model x not found in downloaded models.")) as url:
        result = run("models", "load", "x", "--url", url, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert one_line(result.stderr).endswith("refused: Model x not found in downloaded models.")
