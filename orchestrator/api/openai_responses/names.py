"""Names of things that are called otherwise here: a conversation is a thread."""

from typing import Final

from orchestrator.core.errors import ErrorKind, OrchestratorError

CONVERSATION: Final = "conv_"
THREAD: Final = "thread_"


def thread_of(conversation_id: str) -> str:
    """The id of the thread that a conversation is.

    Raises:
        OrchestratorError: `invalid_value`: it is no conversation's id.
    """
    if not conversation_id.startswith(CONVERSATION):
        message = f'"conversation" must start with "{CONVERSATION}".'
        raise OrchestratorError(ErrorKind.INVALID_VALUE, message, param="conversation")
    return THREAD + conversation_id.removeprefix(CONVERSATION)


def conversation_of_thread(thread_id: str) -> str:
    """The id of the conversation that a thread is."""
    return CONVERSATION + thread_id.removeprefix(THREAD)
