"""Threads, in the OpenAPI document."""

from typing import Final

from orchestrator.api.openapi.parts import (
    WITH_BODY,
    WITH_TOKEN,
    Section,
    body,
    errors,
    path_parameter,
    query_parameter,
    success,
)
from orchestrator.api.responses import CHAIN_PAGE, LIST_PAGE
from orchestrator.api.threads import THREADS_PATH
from orchestrator.api.wire_threads import (
    ThreadBody,
    ThreadChatEnd,
    ThreadChatReply,
    ThreadChatStart,
    ThreadDeletionReply,
    ThreadDetailReply,
    ThreadListReply,
)
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject, JsonValue

_THREAD_ID: Final = path_parameter("thread_id", "The id of a thread.")
_CURSOR: Final = query_parameter("cursor", "The `next_cursor` of the page before.", {"type": "string"})
_ASKED: Final = (ErrorKind.INVALID_VALUE, ErrorKind.UNRECOGNIZED_KEYS, ErrorKind.STORE_ERROR, *WITH_TOKEN)

_MAKING: Final = """\
An extension. A thread of a chain that is there already, whichever dialect made it: `response_id` is its newest response,
and what is appended continues that. The response stays what it is, and any number of threads may point to it. With the
same digits the thread is a conversation (`conv_…`) of `/v1/responses`, too."""

_READING: Final = """\
An extension. The thread and its responses, whole, oldest first, with `mcp_call` for calls of tools as this dialect has
it; `parameters` are in the words of the newer one. They are ordinary responses: each can be read, continued and forked by
its own id too, which leaves the thread where it is."""

_DELETION: Final = """\
An extension. Deletes the thread and overwrites the content of its responses, from the newest upwards, as
`DELETE /api/v1/responses/{response_id}` does. What another branch continues or another thread points to stays, and
all that comes before it: `kept_responses` names it, `kept_by` what goes on from it; attempts that failed go with the thread. With
`subtree=true` all of it is deleted, together with whatever continues any of it. A thread whose newest response runs has
to be cancelled first."""


_SUBTREE: Final = query_parameter(
    "subtree", "Delete what continues its responses, too.", {"type": "boolean", "default": False}
)
_THROUGH: Final = query_parameter("response_id", "Only threads in whose chain this response is.", {"type": "string"})


def _limit(page: tuple[int, int]) -> JsonObject:
    usual, most = page
    return query_parameter(
        "limit", "How many to a page.", {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    )


def _operation(
    name: str, summary: str, description: str, parameters: list[JsonValue], answers: JsonObject
) -> JsonObject:
    return {
        "operationId": name,
        "tags": ["Threads"],
        "summary": summary,
        "description": description,
        "parameters": parameters,
        "responses": answers,
    }


SECTION: Final = Section(
    "Threads",
    "The older dialect of `POST /api/v1/chat` (`mcp_servers`, `thread_id`, `reasoning_effort`, `enable_thinking`) keeps "
    "a chat under one id: a thread points to the newest response of a chain.",
    {
        THREADS_PATH: {
            "get": _operation(
                "listThreads",
                "List threads",
                "An extension. The caller's threads, the last moved first.",
                [_limit(LIST_PAGE), _CURSOR, _THROUGH],
                {"200": success("A page.", "ThreadListReply"), **errors(_ASKED)},
            ),
            "post": {
                **_operation(
                    "createThread",
                    "Make a thread of a response",
                    _MAKING,
                    [],
                    {"200": success("The thread.", "ThreadEntry"), **errors((*WITH_BODY, ErrorKind.STORE_ERROR))},
                ),
                "requestBody": body(
                    "ThreadBody", {"A chain": {"response_id": "resp_cb769fc1e191f0f66670b6710b508b03dd3c282581cef0b2"}}
                ),
            },
        },
        THREADS_PATH + "/{thread_id}": {
            "delete": _operation(
                "deleteThread",
                "Delete a thread",
                _DELETION,
                [_THREAD_ID, _SUBTREE],
                {
                    "200": success("What is gone.", "ThreadDeletionReply"),
                    **errors(
                        (
                            ErrorKind.THREAD_NOT_FOUND,
                            ErrorKind.THREAD_CONFLICT,
                            ErrorKind.RESPONSE_NOT_FINISHED,
                            *_ASKED,
                        )
                    ),
                },
            ),
            "get": _operation(
                "getThread",
                "Read a thread",
                _READING,
                [_THREAD_ID, _limit(CHAIN_PAGE), _CURSOR],
                {
                    "200": success("The thread.", "ThreadDetailReply"),
                    **errors((ErrorKind.THREAD_NOT_FOUND, *_ASKED)),
                },
            ),
        },
    },
    (
        ThreadBody,
        ThreadListReply,
        ThreadDetailReply,
        ThreadDeletionReply,
        ThreadChatReply,
        ThreadChatStart,
        ThreadChatEnd,
    ),
)
