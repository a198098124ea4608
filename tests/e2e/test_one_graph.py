"""A chain that goes through every dialect is one graph, and reads the same from each side: a real model, tool and database."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import Anthropic
from openai import BadRequestError, OpenAI

from tests.authorisation.test_table import command
from tests.e2e.adder import running_adder
from tests.e2e.running import DEMO_MODEL, RunningService, running_service

SUM = "Use add with a=17 and b=25"
ANSWER = "The result of add is 42."
Said = list[tuple[str, str]]
NONE: list[str] = []
COMMON: dict[str, Any] = {"model": DEMO_MODEL, "temperature": 0}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("graph")) as service:
        yield service


@pytest.fixture
def http(service: RunningService) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def openai_client(service: RunningService) -> Any:
    return OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)


def anthropic_client(service: RunningService) -> Any:
    return Anthropic(base_url=service.url, api_key="none", max_retries=0)


def as_messages(said: Said) -> list[Any]:
    return [{"role": role, "content": text} for role, text in said]


def made_chain(service: RunningService, http: httpx.Client, adder: str) -> tuple[list[str], str, Said]:
    """Native with a tool, responses, chat completions, messages, thread, native: ids, the thread, and what was said."""
    openai, anthropic = openai_client(service), anthropic_client(service)
    server = {"type": "ephemeral_mcp", "server_label": "adder", "server_url": adder, "allowed_tools": ["add"]}
    native = http.post("/api/v1/chat", json=COMMON | {"input": SUM, "integrations": [server]}).json()
    said = [("user", SUM), ("assistant", native["output"][-1]["content"])]
    ids = [native["response_id"]]

    second = openai.responses.create(**COMMON, input="Say hello.", previous_response_id=ids[-1])
    said += [("user", "Say hello."), ("assistant", second.output_text)]
    ids.append(second.id)

    said.append(("user", "Say goodbye."))
    third = openai.chat.completions.create(**COMMON, messages=as_messages(said))
    said.append(("assistant", third.choices[0].message.content or ""))
    ids.append(third.id.replace("chatcmpl-", "resp_"))

    said.append(("user", "Thank you."))
    fourth = anthropic.messages.create(
        model=DEMO_MODEL, max_tokens=100, messages=as_messages(said), extra_body={"temperature": 0}
    )
    said.append(("assistant", "".join(block.text for block in fourth.content if block.type == "text")))
    ids.append(fourth.id.replace("msg_", "resp_"))

    thread = http.post("/api/v1/threads", json={"response_id": ids[-1]}).json()["thread_id"]
    fifth = http.post("/api/v1/chat", json=COMMON | {"input": "Who are you?", "thread_id": thread})
    assert fifth.json()["thread_id"] == thread
    said += [("user", "Who are you?"), ("assistant", fifth.json()["output"][-1]["content"])]
    ids.append(fifth.headers["X-Response-Id"])
    return ids, thread, said


def in_our_words(responses: Sequence[Any]) -> tuple[Said, list[str]]:
    """What was said in the responses of a chain or a thread, and the kinds of everything else."""
    said: Said = []
    others: list[str] = []
    for response in responses:
        said += [("user", item["content"]) for item in response["input"]]
        said += [("assistant", item["content"]) for item in response["output"] if item["type"] == "message"]
        others += [item["type"] for item in response["output"] if item["type"] != "message"]
    return said, others


def in_openais_words(items: Sequence[Any]) -> tuple[Said, list[str]]:
    messages = [item for item in items if item.type == "message"]
    said = [(item.role, "".join(part.text for part in item.content)) for item in messages]
    return said, [item.type for item in items if item.type != "message"]


def test_a_chain_through_every_dialect_is_one_and_reads_the_same_from_each_side(
    service: RunningService, http: httpx.Client, tmp_path: Path
) -> None:
    with running_adder() as adder:
        ids, thread, said = made_chain(service, http, adder)
    assert said[1] == ("assistant", ANSWER) and all(text for _, text in said)
    openai = openai_client(service)

    chain = http.get(f"/api/v1/responses/{ids[-1]}/chain").json()["responses"]
    assert [each["response_id"] for each in chain] == ids
    assert [each["previous_response_id"] for each in chain] == [None, *ids[:-1]]
    assert {each["root_id"] for each in chain} == {ids[0]}
    assert in_our_words(chain) == (said, ["tool_call"])

    read = http.get(f"/api/v1/threads/{thread}").json()
    assert [each["response_id"] for each in read["responses"]] == ids
    assert in_our_words(read["responses"]) == (said, ["mcp_call"])

    conversation = openai.conversations.items.list(thread.replace("thread_", "conv_"), order="asc", limit=100)
    told, others = in_openais_words(list(conversation))
    assert (told, "mcp_call" in others) == (said, True)
    for id, before in zip(ids, [None, *ids], strict=False):
        assert openai.responses.retrieve(id).previous_response_id == before
    assert openai.responses.retrieve(ids[-1]).output_text == said[-1][1]
    assert command(service, "audit", "verify")


def test_every_dialect_goes_on_where_the_others_ended(service: RunningService, http: httpx.Client) -> None:
    with running_adder() as adder:
        ids, thread, said = made_chain(service, http, adder)
    openai, anthropic = openai_client(service), anthropic_client(service)
    end = ids[-1]
    messages = as_messages([*said, ("user", "Say hello.")])
    chat = openai.chat.completions.create(**COMMON, messages=messages)
    message = anthropic.messages.create(model=DEMO_MODEL, max_tokens=100, messages=messages)
    response = openai.responses.create(**COMMON, input="Say hello.", previous_response_id=end)
    native = http.post("/api/v1/chat", json=COMMON | {"input": "Say hello.", "previous_response_id": end}).json()
    in_thread = http.post("/api/v1/chat", json=COMMON | {"input": "Say hello.", "thread_id": thread})
    branches = [
        chat.id.replace("chatcmpl-", "resp_"),
        message.id.replace("msg_", "resp_"),
        response.id,
        native["response_id"],
        in_thread.headers["X-Response-Id"],
    ]
    stored = [http.get(f"/api/v1/responses/{id}").json() for id in branches]
    assert {(each["previous_response_id"], each["root_id"]) for each in stored} == {(end, ids[0])}
    assert [[item["content"] for item in each["input"]] for each in stored] == [["Say hello."]] * 5


def test_a_request_that_is_too_long_does_no_harm_to_its_thread_and_its_conversation(
    service: RunningService, http: httpx.Client
) -> None:
    openai = openai_client(service)
    begun = http.post("/api/v1/chat", json=COMMON | {"input": "Say hello.", "mcp_servers": NONE})
    thread, conversation = begun.json()["thread_id"], openai.conversations.create().id
    openai.responses.create(**COMMON, input="Say hello.", conversation=conversation)
    long = "word " * 4_000
    with pytest.raises(BadRequestError):
        openai.responses.create(**COMMON, input=long, conversation=conversation)
    refused = http.post("/api/v1/chat", json=COMMON | {"input": long, "thread_id": thread})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "exceed_context_size")
    again = http.post("/api/v1/chat", json=COMMON | {"input": "Say hello.", "thread_id": thread})
    assert (again.status_code, again.json()["thread_id"]) == (200, thread)
    assert openai.responses.create(**COMMON, input="Say hello.", conversation=conversation).status == "completed"
    for id in (thread, conversation.replace("conv_", "thread_")):
        chain = http.get(f"/api/v1/threads/{id}").json()["responses"]
        assert [text for _, text in in_our_words(chain)[0]][::2] == ["Say hello."] * 2
