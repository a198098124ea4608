"""Errors in the words of this dialect: its kinds, and a conversation where the service says thread."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from orchestrator.core.errors import ErrorInfo, ErrorKind, OrchestratorError

THREAD_PARAM: Final = "thread_id"


def openai_words(info: ErrorInfo) -> ErrorInfo:
    """What OpenAI calls an error of the service's; its `param` is left to the caller."""
    match info.kind, info.param:
        case ErrorKind.INVALID_VALUE, "previous_response_id":
            return ErrorInfo(ErrorKind.PREVIOUS_RESPONSE_NOT_FOUND, info.message, info.param)
        case _, "thread_id":
            return ErrorInfo(info.kind, info.message.replace("thread", "conversation"), info.param)
        case _:
            return info


@contextmanager
def naming_conversation(conversation_id: str, param: str) -> Generator[None]:
    """Errors about the thread that a conversation is, told as errors about the conversation, which `param` names.

    Raises:
        OrchestratorError: what is raised within, in these words.
    """
    try:
        yield
    except OrchestratorError as error:
        info = error.info
        about_thread = info.param == THREAD_PARAM
        if info.kind is ErrorKind.THREAD_NOT_FOUND or (about_thread and info.kind is ErrorKind.INVALID_VALUE):
            message = f"Conversation with id '{conversation_id[:300]}' not found."
            raise OrchestratorError(ErrorKind.THREAD_NOT_FOUND, message, param=param) from None
        if about_thread or info.kind is ErrorKind.RESPONSE_NOT_FINISHED:
            raise OrchestratorError(info.kind, openai_words(info).message, param=param) from None
        raise
