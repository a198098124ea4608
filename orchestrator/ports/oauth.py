"""What the integrations need of the store of OAuth logins."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.core.errors import ErrorKind, OrchestratorError


@dataclass(frozen=True, slots=True)
class OAuthCredential:
    """What a plugin holds of its authorization server: client, tokens, metadata, in a form that only its owner reads.

    `revision` grows by one with each write of the same `key`.
    """

    key: str
    plugin_id: str
    content: bytes = field(repr=False)
    revision: int
    updated_at: datetime


class UnreadableCredentialError(OrchestratorError):
    """The login is there, but the key that it was encrypted with is not; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.STORE_ERROR, message)


class OAuthCredentialStore(Protocol):
    """Logins of plugins, encrypted where they rest. Every method raises `OrchestratorError` where the store fails."""

    async def read_credential(self, key: str) -> OAuthCredential | None:
        """The credential of `key`, decrypted.

        Raises:
            UnreadableCredentialError: it was encrypted with a key that is not here.
        """
        ...

    async def write_credential(
        self, key: str, plugin_id: str, content: bytes, at: datetime, *, replaces: int | None
    ) -> int | None:
        """Keep `content` and return its revision; None, and nothing kept, where the revision is not `replaces`.

        With `replaces` None whatever is there is replaced. A claim on the key ends with the write.
        """
        ...

    async def delete_credentials(self, plugin_id: str) -> int:
        """Forget every credential of a plugin; returns how many there were."""
        ...

    async def list_credentials(self) -> Sequence[tuple[str, datetime]]:
        """Which plugins have one, and since when, in the order of their ids."""
        ...

    async def claim_credential(self, key: str, holder: str, now: datetime, until: datetime) -> bool:
        """Reserve the renewal of a credential for `holder`: False while another's claim lasts, or where there is none."""
        ...

    async def release_credential(self, key: str, holder: str) -> None:
        """Give a claim back."""
        ...
