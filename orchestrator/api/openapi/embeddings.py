"""Embeddings, in the OpenAPI document."""

from typing import Final

from orchestrator.api.embeddings import EMBEDDINGS_PATH
from orchestrator.api.errors import openai_envelope
from orchestrator.api.openapi.parts import WITH_BODY, Section, body, errors, success
from orchestrator.api.wire_embeddings import EmbeddingsBody, EmbeddingsReply
from orchestrator.api.wire_openai_errors import OpenAIErrorEnvelope
from orchestrator.core.errors import ErrorKind
from orchestrator.core.json_types import JsonObject

EMBED: Final = """\
The vectors of texts, as OpenAI's clients ask for them. The model is loaded where it is not, and waits in the same fair
queue as chats. A text that is longer than the model reads is refused, never cut. A token needs the permission `chat`."""

EMBED_EXAMPLES: Final[JsonObject] = {
    "One text": {"model": "publisher/embedding-model", "input": "It is noon."},
    "Several": {"model": "publisher/embedding-model", "input": ["One.", "Two."], "encoding_format": "base64"},
}

_IN_EMBED: Final = (
    *WITH_BODY,
    ErrorKind.UNKNOWN_MODEL,
    ErrorKind.EXCEED_CONTEXT_SIZE,
    ErrorKind.INSUFFICIENT_RESOURCES,
    ErrorKind.RATE_LIMITED,
    ErrorKind.ENGINE_ERROR,
    ErrorKind.ENGINE_UNAVAILABLE,
)


def _embed() -> JsonObject:
    return {
        "operationId": "createEmbeddings",
        "tags": ["Embeddings"],
        "summary": "Embed texts",
        "description": EMBED,
        "requestBody": body("EmbeddingsBody", EMBED_EXAMPLES),
        "responses": {
            "200": success("The vectors, in the order of the texts.", "EmbeddingsReply"),
            **errors(_IN_EMBED, openai_envelope),
        },
    }


SECTION: Final = Section(
    "Embeddings",
    "Vectors of texts, in OpenAI's shape.",
    {EMBEDDINGS_PATH: {"post": _embed()}},
    (EmbeddingsBody, EmbeddingsReply, OpenAIErrorEnvelope),
)
