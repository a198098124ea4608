"""One exchange with an authorization server, and in which words it refused."""

from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import parse_qs

import httpx2

from orchestrator.integrations.oauth.authority import AuthorityClient, AuthorityUnavailableError
from orchestrator.integrations.oauth.bearer import AuthorizationError
from orchestrator.integrations.redaction import redactor

_SECRET_FIELDS: Final = ("client_secret", "client_assertion", "code", "code_verifier", "refresh_token", "token")
_LONGEST_DESCRIPTION: Final = 300


class RefusedGrantError(AuthorizationError):
    """The authorization server has answered, and given no token."""


class Talk:
    """Sends for the SDK, and remembers in which words a request was refused."""

    def __init__(self, client: AuthorityClient, known_secrets: Sequence[str]) -> None:
        self._client = client
        self._secrets = known_secrets
        self.refusal: str | None = None

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._client.send(request)
        self.refusal = None
        if request.method != "POST" or response.is_success:
            return response
        origin = self._client.checked(str(request.url)).origin
        if response.status_code >= 500 or response.status_code == 429:
            raise AuthorityUnavailableError(f"its authorization server at {origin} answered {response.status_code}")
        said = _error(response, [*self._secrets, *_form_secrets(request)])
        self.refusal = f"its authorization server at {origin} refused ({response.status_code}{said})"
        return response


def _error(response: httpx2.Response, known_secrets: Sequence[str]) -> str:
    """The error of RFC 6749, section 5.2, as far as it can be shown."""
    try:
        body: object = response.json()
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    found = cast("dict[str, object]", body)
    words = [found.get("error"), found.get("error_description")]
    texts = [" ".join(word.split())[:_LONGEST_DESCRIPTION] for word in words if isinstance(word, str) and word.strip()]
    shown = "".join(letter if letter.isprintable() else "?" for letter in ": ".join(texts))
    return ", " + redactor(known_secrets)(shown) if shown else ""


def _form_secrets(request: httpx2.Request) -> list[str]:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return []
    form = parse_qs(request.content.decode("ascii", "replace"))
    return [value for name in _SECRET_FIELDS for value in form.get(name, ())]
