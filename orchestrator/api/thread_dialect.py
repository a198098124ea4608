"""Which dialect a chat is asked for in, and the older one in the service's words.

Source: the seed document "LM Studio REST API", and section 6 of the contract.
"""

from typing import Final, Literal, TypeAlias

from msgspec import UNSET, UnsetType

from orchestrator.api.wire_requests import ChatBody, ThreadServer
from orchestrator.core.errors import ErrorKind, OrchestratorError
from orchestrator.core.request import EphemeralRequest, ReasoningSetting

Dialect: TypeAlias = Literal["responses", "thread"]

THREAD_PREFIX: Final = "thread_"
OLDER: Final = ("mcp_servers", "thread_id", "reasoning_effort", "enable_thinking")
NEWER: Final = ("integrations", "previous_response_id", "reasoning")


def dialect_of(body: ChatBody, usual: Dialect) -> Dialect:
    """The dialect that the body's own fields are of, `usual` where it has none of either.

    Raises:
        OrchestratorError: `invalid_value` on a field of the older dialect beside one of the newer.
    """
    older = [name for name in OLDER if getattr(body, name) is not UNSET]
    newer = [name for name in NEWER if getattr(body, name) is not UNSET]
    if older and newer:
        message = (
            f'"{older[0]}" belongs to the older dialect and "{newer[0]}" to the newer one. Use the fields of one of them: '
            f"{_listed(OLDER)}; or {_listed(NEWER)}."
        )
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param=older[0])
    if older:
        return "thread"
    return "responses" if newer else usual


def thread_id_of(body: ChatBody) -> str | None:
    """The thread to append to, None for a new one.

    Raises:
        OrchestratorError: `invalid_value`: it is no thread's id.
    """
    if isinstance(body.thread_id, UnsetType):
        return None
    if not body.thread_id.startswith(THREAD_PREFIX):
        message = f'"thread_id" must start with "{THREAD_PREFIX}".'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="thread_id")
    return body.thread_id


def server_requests(servers: list[ThreadServer] | UnsetType) -> tuple[EphemeralRequest, ...]:
    """The servers that the request brings along."""
    return tuple(
        EphemeralRequest(
            server.server_label,
            server.server_url,
            None if isinstance(server.allowed_tools, UnsetType) else tuple(server.allowed_tools),
            {} if isinstance(server.headers, UnsetType) else server.headers,
        )
        for server in ([] if isinstance(servers, UnsetType) else servers)
    )


def reasoning_wishes(body: ChatBody) -> tuple[ReasoningSetting, ...]:
    """The settings that the request is content with, the best first: what the model does not offer is ignored."""
    if body.enable_thinking is False:
        return ("off",)
    effort: tuple[ReasoningSetting, ...] = (
        () if isinstance(body.reasoning_effort, UnsetType) else (body.reasoning_effort,)
    )
    return (*effort, "on") if body.enable_thinking is True else effort


def in_older_words(error: OrchestratorError) -> OrchestratorError:
    """The error with the field's name in the older dialect."""
    info = error.info
    if info.param is None or info.param.partition(".")[0] != "integrations":
        return error
    param = info.param.replace("integrations", "mcp_servers", 1)
    return OrchestratorError(info.kind, info.message, param=param, retry_after_seconds=error.retry_after_seconds)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
